//! The timeline, as the buffers have kept it.

use super::Supervisor;
use crate::clock::Moment;
use crate::fates::Fate;
use crate::report::Explanation;
use crate::sample::SampleId;
use crate::source_id::SourceId;
use crate::timeline::{Mark, Plan, Timeline, TimelineStage, Visit};
use crate::worker::Role;
use std::time::Duration;

impl<V: Send + 'static> Supervisor<V> {
    /// Returns which stage limits, and what would be with other settings of it.
    pub fn explain(&self) -> Explanation {
        self.report().explain().with_alternatives(&self.timeline())
    }

    /// Returns when the last samples came to each stage, were taken, and ended.
    pub fn timeline(&self) -> Timeline {
        let (_, elapsed, at) = self.outcome_and_elapsed();
        // What was put in before all workers were up came at the beginning.
        let begin = Moment(at.0.saturating_sub(u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX)));
        let since_begin = |nanoseconds: u64| Duration::from_nanos(Moment(nanoseconds).since(begin));
        let there = |nanoseconds: u64| (nanoseconds > 0).then(|| since_begin(nanoseconds));

        let (mut stages, mut visits) = (Vec::new(), Vec::new());
        for (index, node) in self.layout.nodes.iter().enumerate() {
            // What hands samples from one buffer to another is no stage of the user's.
            if !matches!(node.role, Role::Stage(_)) {
                continue;
            }
            let stage = stages.len();
            let limits = &self.layout.limits[index];
            stages.push(TimelineStage {
                name: self.stage_name(index).to_owned(),
                workers: self.workers_now(index, at).0,
                ordered: limits.consumers.ordered,
                intake: node.options.intake,
                buffer_size: limits.capacity,
                overflow: limits.overflow,
                max_age: limits.max_age,
            });
            // What lies in memory that processes share is looked at before it is believed.
            let known = self.inlets[index].buffer.visits().into_iter().filter(|visit| {
                let times = [Some(visit.came), Some(visit.taken), Some(visit.ended)];
                let times = times.into_iter().flatten().filter(|time| *time > 0);
                visit.worker < node.options.workers as u64 && times.is_sorted()
            });
            visits.extend(known.map(|visit| Visit {
                stage,
                sample: SampleId { number: visit.number, part: visit.part },
                source: SourceId::from_word(visit.source).name_if_known().map(str::to_owned),
                came: since_begin(visit.came),
                taken: there(visit.taken),
                worker: (visit.taken > 0).then_some(visit.worker as usize),
                ended: there(visit.ended),
                fate: visit.how().and_then(Fate::of),
                crashed: visit.has_died(),
            }));
        }
        let marks = self.notices.marks().into_iter();
        let marks = marks.map(|(moment, text)| Mark { at: Duration::from_nanos(moment.since(begin)), text });
        let lately = Duration::from_secs(10).min(elapsed).max(Duration::from_nanos(1));
        let waited = self.inlets[0].buffer.waited(at).1;
        let plan = Plan { bringers_wait: waited.div_duration_f64(lately).min(1.0), ..self.layout.plan.clone() };
        Timeline::new(elapsed, stages, visits, marks.collect(), plan)
    }
}
