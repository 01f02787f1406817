//! What is left when a process dies: whatever it was about has happened wholly or not at all, and its successor goes
//! on.

use super::super::table::Receipt;
use super::fates::random_limits;
use super::world::{Act, Happened, Who, World};
use super::{Random, Told, limits, policies};
use crate::buffer::{Arrival, Gate, Limits};
use crate::ledger::Fate;
use crate::policies::{Intake, OnCrash, Overflow};

const ON_CRASH: [OnCrash; 3] = [OnCrash::Skip, OnCrash::Retry, OnCrash::Stop];

/// A sample comes inside.
const BRING: [Act; 2] = [Act::Reserve(20), Act::Publish];

/// Everything that a worker does.
const OPERATIONS: [Act; 13] = [
    Act::Reserve(20),
    Act::Reserve(90),
    Act::Put(20),
    Act::Put(90),
    Act::Publish,
    Act::Cancel,
    Act::Take,
    Act::Settle(0, Fate::Used),
    Act::Settle(0, Fate::Skipped),
    Act::Settle(1, Fate::Used),
    Act::SettleFirst(false, Fate::Failed),
    Act::SettleFirst(true, Fate::Used),
    Act::Release,
];

/// How a buffer may be when somebody dies over it.
fn situations() -> Vec<(&'static str, Vec<Act>)> {
    let full = [BRING, BRING].concat();
    let in_flight = [&full[..], &[Act::Take]].concat();
    let held = [&in_flight[..], &[Act::Settle(1, Fate::Used)], &full, &[Act::Take]].concat();
    let writing = [&in_flight[..], &BRING, &[Act::Reserve(20)]].concat();
    vec![
        ("empty", vec![]),
        ("empty, and both wait", vec![Act::Take, Act::Reserve(20)]),
        ("one inside", BRING.to_vec()),
        ("full, and the producer waits", [&full[..], &[Act::Reserve(20)]].concat()),
        ("full by bytes", [Act::Reserve(60), Act::Publish, Act::Reserve(60)].to_vec()),
        ("in flight", in_flight.clone()),
        ("in flight, and full", [&in_flight[..], &full].concat()),
        ("in flight, and being written", writing.clone()),
        ("looked at and in flight", held.clone()),
        ("flushed", [&writing[..], &[Act::Cut(1)]].concat()),
        ("closed", [&in_flight[..], &BRING, &[Act::Gate(Gate::Closed)]].concat()),
        ("discarding", [&writing[..], &[Act::Gate(Gate::Discarding)]].concat()),
    ]
}

/// Has a process die over an operation, at each of its steps in turn. What comes of it has to hang together at once,
/// and after some deaths its successor goes on until everything has been used.
fn at_every_step(operation: Act, make: impl Fn() -> World) {
    let Some(who) = operation.of() else { return };
    let mut has_happened = false;
    for step in 0.. {
        let told = Told((operation, step));
        let mut world = make();
        world.life(who).ends_after(step);
        let Err(happened) = world.act(operation) else { break };
        assert!(!(has_happened && happened == Happened::No), "what has happened stays so");
        has_happened |= happened == Happened::Yes;
        if step % 5 == 0 {
            world.goes_on();
        }
        drop(told);
    }
}

fn world(limits: Limits, on_crash: OnCrash, received: Option<Receipt>, acts: &[Act]) -> World {
    let mut world = World::new(limits, Arrival::Stage, on_crash);
    world.received = received;
    for who in [Who::Producer, Who::Consumer] {
        world.life(who).is_contended(true);
    }
    world.acts(acts);
    world
}

/// What the buffer behind the consumer may have received: nothing, a result of another take, a result, some of many; of
/// a batch also those of its first sample, or of its second.
const RECEIVED: [Option<Receipt>; 7] = [
    None,
    Some(Receipt { ticket: 99, sample: 0, parts: None }),
    Some(Receipt { ticket: 1, sample: 0, parts: None }),
    Some(Receipt { ticket: 1, sample: 0, parts: Some(2) }),
    Some(Receipt { ticket: 1, sample: 1, parts: None }),
    Some(Receipt { ticket: 1, sample: 1, parts: Some(2) }),
    Some(Receipt { ticket: 1, sample: 2, parts: None }),
];

#[test]
fn a_death_at_any_step_leaves_all_or_nothing() {
    for (overflow, intake) in policies() {
        for (situation, acts) in situations() {
            for operation in OPERATIONS {
                let told = Told((overflow, intake, situation));
                let make = || world(limits(2, 100, overflow, intake), OnCrash::Retry, None, &acts);
                at_every_step(operation, make);
                drop(told);
            }
        }
    }
}

#[test]
fn what_was_in_flight_has_the_fate_that_the_next_buffer_tells() {
    for intake in super::INTAKES {
        for (situation, acts) in situations() {
            for on_crash in ON_CRASH {
                for received in RECEIVED {
                    let told = Told((intake, situation, on_crash, received));
                    let make = || world(limits(2, 100, Overflow::Block, intake), on_crash, received, &acts);
                    // Those before the one of which a result was received have their fate.
                    if received.is_none_or(|receipt| receipt.sample < 2) {
                        at_every_step(Act::Settle(1, Fate::Used), make);
                        at_every_step(Act::SettleFirst(true, Fate::Used), make);
                    } else {
                        let make = || {
                            let mut world = make();
                            world.acts(&[Act::SettleFirst(false, Fate::Failed)]);
                            world
                        };
                        at_every_step(Act::Settle(1, Fate::Used), make);
                    }
                    drop(told);
                }
            }
        }
    }
}

#[test]
fn a_successor_that_dies_too_leaves_all_or_nothing() {
    let operations = [Act::Take, Act::Settle(1, Fate::Used), Act::Publish];
    for (overflow, intake) in [(Overflow::Block, Intake::All), (Overflow::DropOldest, Intake::Single)] {
        for (first, second) in operations.into_iter().flat_map(|first| operations.map(|second| (first, second))) {
            let acts = [&BRING[..], &BRING, &[Act::Take], &BRING, &[Act::Reserve(20)]].concat();
            let make = || {
                let mut world = world(limits(2, 100, overflow, intake), OnCrash::Retry, None, &acts);
                if matches!(first, Act::Take) {
                    world.acts(&[Act::Settle(1, Fate::Used), Act::Publish]);
                }
                world
            };
            for step in (0..150).step_by(11) {
                let again = || {
                    let mut world = make();
                    if let Some(who) = first.of() {
                        world.life(who).ends_after(step);
                    }
                    let _ = world.act(first);
                    [Who::Producer, Who::Consumer].into_iter().for_each(|who| world.life(who).goes_on());
                    world.acts(&[Act::Take, Act::Reserve(20)]);
                    if matches!(second, Act::Take) {
                        world.acts(&[Act::Settle(1, Fate::Skipped), Act::Publish]);
                    }
                    world
                };
                at_every_step(second, again);
            }
        }
    }
}

#[test]
fn a_sample_that_killed_its_worker_twice_is_lost() {
    let acts = [&BRING[..], &[Act::Take]].concat();
    let mut world = world(limits(2, 100, Overflow::Block, Intake::Single), OnCrash::Retry, None, &acts);
    for (taken, lost) in [(0, 0), (0, 1)] {
        world.life(Who::Consumer).ends_after(0);
        assert_eq!(world.act(Act::Settle(0, Fate::Used)), Err(Happened::No));
        assert_eq!((world.model.buffer.taken, world.model.stage.lost), (taken + lost, lost));
        world.acts(&[Act::Take]);
    }
    assert_eq!(world.model.buffer.waiting, 0);
}

#[test]
fn a_list_is_tried_again_as_it_was() {
    let short = [Act::Reserve(60), Act::Publish, Act::Reserve(30), Act::Publish, Act::Reserve(50), Act::Take];
    let then = [Act::Reserve(50), Act::Publish];
    let acts = [&short[..], &then].concat();
    let mut world = world(limits(4, 100, Overflow::Block, Intake::All), OnCrash::Retry, None, &acts);
    let list = world.model.in_flight.clone();
    assert_eq!(list.len(), 2);
    world.life(Who::Consumer).ends_after(0);
    assert_eq!(world.act(Act::Settle(0, Fate::Used)), Err(Happened::No));
    world.acts(&[Act::Take]);
    let ids = |list: &[super::model::Waiting]| list.iter().map(|sample| sample.id).collect::<Vec<_>>();
    assert_eq!(ids(&world.model.in_flight), ids(&list));
}

#[test]
fn a_list_that_is_tried_again_leaves_nobody_asleep() {
    let list = [Act::Reserve(50), Act::Publish, Act::Reserve(40), Act::Publish, Act::Reserve(20), Act::Take];
    // Whoever brings one more waits, in the first case for its bytes, in the second for a place.
    for (bytes, samples) in [(20, 5), (10, 6)] {
        let behind_it = [Act::Reserve(bytes), Act::Publish].repeat(samples);
        let mut world = world(limits(8, 100, Overflow::Block, Intake::All), OnCrash::Retry, None, &list);
        world.acts(&behind_it);
        world.life(Who::Consumer).ends_after(0);
        assert_eq!(world.act(Act::Settle(0, Fate::Used)), Err(Happened::No));
        world.acts(&[Act::Reserve(bytes), Act::Take, Act::Settle(0, Fate::Used), Act::Take]);
        assert!(!world.has_in_flight(), "it waits for more, and so must nobody who would bring it");
    }
}

#[test]
fn random_lives_end_at_random_steps() {
    for (overflow, intake) in policies() {
        for seed in 0..60 {
            let told = Told((seed, overflow, intake));
            let mut random = Random(seed);
            let (limits, on_crash) = (random_limits(&mut random, overflow, intake), random.choice(&ON_CRASH));
            let arrival = random.choice(&[Arrival::Stage, Arrival::Outside, Arrival::Source]);
            let mut world = World::new(limits, arrival, on_crash);
            for _ in 0..300 {
                let act = world.random_act(&mut random);
                if let Some(who) = act.of().filter(|who| world.can_die(*who) && random.one_in(5)) {
                    world.life(who).is_contended(random.one_in(2));
                    world.life(who).ends_after(random.below(120));
                    let ticket = world.model.ticket + random.below(2);
                    let parts = Some(random.below(4)).filter(|parts| *parts > 0);
                    let sample = world.model.in_flight.first().map_or(0, |first| first.entered);
                    world.received = random.one_in(2).then_some(Receipt { ticket, sample, parts });
                }
                let lives = world.act(act).is_ok();
                if let Some(who) = act.of().filter(|_| lives) {
                    world.life(who).goes_on();
                }
            }
            world.goes_on();
            drop(told);
        }
    }
}
