//! The timeline of stages in processes, also of those that die.

use crate::puppet::{At, Player, Puppet};
use crate::stages::{end, pipeline};
use deeppipeline::isolated;
use deeppipeline::processes::OnCrash;
use deeppipeline::report::Timeline;

/// The visits of the stage in a process: the sample, whether a worker had it, whether that died, and what came of it.
fn visits(timeline: &Timeline) -> Vec<(u64, Option<usize>, bool, &'static str)> {
    let of_stage = timeline.visits.iter().filter(|visit| visit.stage == 0);
    of_stage.map(|visit| (visit.sample.number, visit.worker, visit.crashed, visit.word())).collect()
}

#[test]
fn it_has_what_a_dead_worker_had_in_flight_and_what_became_of_it() {
    for (on_crash, word) in [(OnCrash::Skip, "lost"), (OnCrash::Retry, "tried again")] {
        let (player, (end, _values)) = (Player::new(), end());
        let stage = isolated::<Puppet>(player.strings()).on_crash(on_crash);
        let pipeline = pipeline().stage(stage).end_stage(end).start().unwrap();
        let mut first = player.next();
        for x in 1..=2 {
            pipeline.put(x).unwrap();
        }
        assert_eq!(first.at(), At::Run(1));
        assert_eq!(visits(&pipeline.timeline()), [(1, Some(0), false, "in work"), (2, None, false, "waiting")]);
        first.kill();

        let mut second = player.next();
        if on_crash == OnCrash::Retry {
            second.lets(At::Run(1));
        }
        second.lets(At::Run(2));
        pipeline.setstop().unwrap();
        let timeline = pipeline.timeline();
        let mut expected = vec![(1, Some(0), true, word), (2, Some(0), false, "used")];
        if on_crash == OnCrash::Retry {
            expected.push((1, Some(0), false, "used"));
        }
        assert_eq!(visits(&timeline), expected);
        for visit in &timeline.visits {
            assert!(Some(visit.came) <= visit.taken && visit.taken <= visit.ended, "{visit:?}");
        }
        let marks: Vec<&str> = timeline.marks.iter().map(|mark| mark.text.as_str()).collect();
        assert_eq!(marks, ["worker 0 of Puppet was started again"]);
    }
}
