//! Many flushes of a pipeline that loses nothing by itself, and what comes out after each of them.

use crate::support::until;
use deeppipeline::pipeline::Put;
use deeppipeline::{Pipeline, Report, current_sample};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// The numbers of the samples that came out, in order, and which of them came from the south.
#[derive(Clone, Default)]
pub(crate) struct Seen(Arc<Mutex<Vec<(u64, bool)>>>);

impl Seen {
    /// The end stage.
    pub(crate) fn end<T>(&self) -> impl FnMut(T) + Send + 'static {
        let seen = self.clone();
        move |_| {
            let sample = current_sample().expect("the end stage runs on a sample");
            seen.0.lock().unwrap().push((sample.id.number, sample.source() == Some("south")));
        }
    }

    fn count(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    fn assert_all_after(&self, cut: u64, count: usize) {
        let seen = self.0.lock().unwrap();
        assert!(seen[count..].iter().all(|(number, _)| *number > cut), "after the cut at {cut}: {:?}", &seen[count..]);
    }

    fn assert_all_of_north_after(&self, cut: u64, count: usize) {
        let seen = self.0.lock().unwrap();
        let old = seen[count..].iter().find(|(number, of_south)| !of_south && *number <= cut);
        assert_eq!(old, None, "after the cut at {cut}");
    }

    fn of_south(&self) -> u64 {
        self.0.lock().unwrap().iter().filter(|(_, of_south)| *of_south).count() as u64
    }
}

/// How many flushes a test makes: `CUTS=10000` for as many as that.
pub(crate) fn wanted(otherwise: u64) -> u64 {
    std::env::var("CUTS").map_or(otherwise, |cuts| cuts.parse().expect("CUTS is a number"))
}

/// Flushes with so many samples before and after as a generator says: nothing old comes out afterwards, and of what is
/// put then everything does.
pub(crate) fn cut_between_puts(pipeline: Pipeline<i64>, seen: &Seen, cuts: u64) -> Report {
    let mut random = 1_u64;
    let mut below = |end: u64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % end
    };
    let mut put = 0;
    for _ in 0..cuts {
        let mut some = |count: u64| {
            (0..count).for_each(|_| assert!(pipeline.put(1).unwrap().is_accepted()));
            put += count;
            put
        };
        let cut = some(below(7));
        pipeline.flush();
        let count = seen.count();
        let after = below(4);
        some(after);
        until(|| seen.count() == count + after as usize);
        seen.assert_all_after(cut, count);
    }
    pipeline.setstop().unwrap()
}

/// Flushes while another thread puts: nothing that was put before comes out afterwards, and nothing is missing.
pub(crate) fn cut_beside_puts(pipeline: Pipeline<i64>, seen: &Seen, cuts: u64) -> Report {
    let (last_put, over) = (AtomicU64::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                assert!(pipeline.put(1).unwrap().is_accepted());
                last_put.fetch_add(1, Ordering::SeqCst);
            }
        });
        let mut made = Vec::new();
        for _ in 0..cuts {
            let cut = last_put.load(Ordering::SeqCst);
            pipeline.flush();
            made.push((cut, seen.count()));
            // So that something comes out in between, now and then.
            until(|| last_put.load(Ordering::SeqCst) > cut);
        }
        over.store(true, Ordering::Relaxed);
        // What was seen when a flush returned is no later than the next.
        for (cut, count) in made {
            seen.assert_all_after(cut, count);
        }
    });
    let report = pipeline.setstop().unwrap();
    let flushed: u64 = report.stages.iter().map(|stage| stage.buffer.flushed).sum();
    assert_eq!(report.stages[0].buffer.entered, flushed + seen.count() as u64, "{report}");
    report
}

/// Flushes one of two entrances while another thread puts into the other: nothing of the one that was put before comes out
/// afterwards, and nothing of the other is missing.
pub(crate) fn cut_north_beside_south(pipeline: Pipeline<i64>, seen: &Seen, cuts: u64) -> Report {
    let (puts, over) = (AtomicU64::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                assert!(pipeline.put_into("south", 1).unwrap().is_accepted());
                puts.fetch_add(1, Ordering::SeqCst);
            }
        });
        let mut made = Vec::new();
        for flush in 0..cuts {
            let mut cut = 0;
            for _ in 0..flush % 4 {
                let Put::Accepted { number } = pipeline.put_into("north", 1).unwrap() else { panic!("it has room") };
                cut = number;
            }
            let before = puts.load(Ordering::SeqCst);
            pipeline.flush_source("north").unwrap();
            made.push((cut, seen.count()));
            until(|| puts.load(Ordering::SeqCst) > before);
        }
        over.store(true, Ordering::Relaxed);
        for (cut, count) in made {
            seen.assert_all_of_north_after(cut, count);
        }
    });
    let report = pipeline.setstop().unwrap();
    let flushed: u64 = report.stages.iter().map(|stage| stage.buffer.flushed).sum();
    assert_eq!(report.stages[0].buffer.entered, flushed + seen.count() as u64, "{report}");
    assert_eq!(report.source("south").map(|south| south.counts.entered), Some(seen.of_south()), "{report}");
    report
}
