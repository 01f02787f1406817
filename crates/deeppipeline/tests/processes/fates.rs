//! What a program is told of samples that end in a process: with the value as it came there.

use crate::puppet::{At, Do, Player, Puppet};
use crate::stages::{end, ended, pipeline};
use deeppipeline::report::{Fate, FateEvent};
use deeppipeline::{OnError, isolated};
use std::sync::mpsc::{Receiver, channel};

/// What is compared of an event.
type Told = (u64, Fate, Option<String>, Option<i64>);

fn told(events: Receiver<FateEvent>) -> Vec<Told> {
    let told = events.into_iter().map(|mut event| {
        let value = event.take_value();
        (event.sample.number, event.fate, event.error.map(|error| error.cause().to_string()), value)
    });
    told.collect()
}

#[test]
fn a_failed_sample_is_told_with_its_error_and_its_value() {
    let (player, (end, _values), (tell, events)) = (Player::new(), end(), channel());
    let pipeline = pipeline()
        .stage(isolated::<Puppet>(player.strings()).on_error(OnError::Skip))
        .end_stage(end)
        .on_fate(move |event| tell.send(event).unwrap())
        .start()
        .unwrap();
    let mut hand = player.next();
    (41..=42).for_each(|x| {
        pipeline.put(x).unwrap();
    });
    hand.lets(At::Run(41));
    hand.at_tell(At::Run(42), Do::Fail("no".to_owned()));
    let report = ended(pipeline);
    assert_eq!(told(events), [(2, Fate::Failed, Some("no".to_owned()), Some(42))]);
    assert_eq!(report.stages[0].counts.last_failed.iter().map(|sample| sample.number).collect::<Vec<_>>(), [2]);
}

#[test]
fn a_lost_sample_is_told_with_its_value() {
    let (player, (end, _values), (tell, events)) = (Player::new(), end(), channel());
    let pipeline = pipeline()
        .stage(isolated::<Puppet>(player.strings()))
        .end_stage(end)
        .on_fate(move |event| tell.send(event).unwrap())
        .start()
        .unwrap();
    let mut hand = player.next();
    (41..=42).for_each(|x| {
        pipeline.put(x).unwrap();
    });
    hand.kills(At::Run(41));
    player.next().lets(At::Run(42));
    ended(pipeline);
    assert_eq!(told(events), [(1, Fate::Lost, None, Some(41))]);
}

#[cfg(feature = "dead-letters")]
#[test]
fn what_a_process_failed_on_or_took_with_it_is_a_dead_letter() {
    let folder = std::env::temp_dir().join(format!("dead letters of processes {}", std::process::id()));
    let (player, (end, _values)) = (Player::new(), end());
    let pipeline = pipeline()
        .dead_letters(&folder)
        .stage(isolated::<Puppet>(player.strings()).on_error(OnError::Skip))
        .end_stage(end)
        .start()
        .unwrap();
    let mut hand = player.next();
    (41..=43).for_each(|x| {
        pipeline.put(x).unwrap();
    });
    hand.at_tell(At::Run(41), Do::Fail("no".to_owned()));
    hand.kills(At::Run(42));
    player.next().lets(At::Run(43));
    ended(pipeline);

    let letters = deeppipeline::report::replay(&folder).unwrap().map(|letter| {
        let letter = letter.unwrap();
        (letter.sample.number, letter.fate, letter.error.clone(), letter.value::<i64>().unwrap())
    });
    let no = Some("no".to_owned());
    // What the process says last of itself comes on its own way, and may come behind what its death means.
    let mut letters: Vec<_> = letters.collect();
    letters.sort_by_key(|(number, ..)| *number);
    assert_eq!(letters, [(1, Fate::Failed, no, 41), (2, Fate::Lost, None, 42)]);
    std::fs::remove_dir_all(&folder).unwrap();
}
