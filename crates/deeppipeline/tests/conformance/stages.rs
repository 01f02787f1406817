//! The named stages, the same code for every executor, and what they leave behind for the case to look at.

use crate::case::{Does, EntranceSpec, Input};
use crate::fates::Told;
use deeppipeline::report::SampleId;
use deeppipeline::{BoxError, Give, current_sample};
use std::sync::{Arc, Mutex};

/// Something that a stage did, for the case to look at.
#[derive(Debug, Clone)]
#[cfg_attr(processes, derive(serde::Serialize, serde::Deserialize))]
pub(crate) enum Entry {
    /// The end stage got this.
    Value(SampleId, i64),
    SetUp(String),
    TornDown(String),
}

/// Whoever is told what a stage did.
pub(crate) trait Witness: Send + Sync {
    fn note(&self, entry: Entry);
}

/// What the stages of one run did.
#[derive(Default)]
pub(crate) struct Log {
    values: Mutex<Vec<(SampleId, i64)>>,
    set_up: Mutex<Vec<String>>,
    torn_down: Mutex<Vec<String>>,
    told: Mutex<Vec<Told>>,
}

impl Witness for Log {
    fn note(&self, entry: Entry) {
        match entry {
            Entry::Value(id, x) => self.values.lock().unwrap().push((id, x)),
            Entry::SetUp(stage) => self.set_up.lock().unwrap().push(stage),
            Entry::TornDown(stage) => self.torn_down.lock().unwrap().push(stage),
        }
    }
}

impl Log {
    /// What the end stage got, in order.
    pub(crate) fn values(&self) -> Vec<(SampleId, i64)> {
        self.values.lock().unwrap().clone()
    }

    /// Notes the fate of a sample.
    pub(crate) fn tell(&self, told: Told) {
        self.told.lock().unwrap().push(told);
    }

    /// The fates of samples, as they were told.
    pub(crate) fn told(&self) -> Vec<Told> {
        self.told.lock().unwrap().clone()
    }

    /// The stages torn down so far, by name.
    pub(crate) fn torn_down(&self) -> Vec<String> {
        let mut torn_down = self.torn_down.lock().unwrap().clone();
        torn_down.sort();
        torn_down
    }

    /// Each stage whose setup succeeded was torn down, once.
    pub(crate) fn every_teardown_ran(&self) -> bool {
        let mut set_up = self.set_up.lock().unwrap().clone();
        set_up.sort();
        set_up == self.torn_down()
    }
}

/// A stage at work.
pub(crate) struct Logic {
    name: String,
    does: Does,
    is_end: bool,
    /// What it multiplies by.
    pub(crate) factor: i64,
    held: Vec<i64>,
    failures: u32,
    witness: Arc<dyn Witness>,
}

impl Logic {
    pub(crate) fn new(name: &str, does: Does, is_end: bool, witness: Arc<dyn Witness>) -> Self {
        Logic { name: name.to_owned(), does, is_end, factor: 1, held: Vec::new(), failures: 0, witness }
    }

    /// Another stage of the same name, that does something else.
    pub(crate) fn another(&self, does: Does) -> Self {
        Logic::new(&self.name, does, self.is_end, Arc::clone(&self.witness))
    }

    pub(crate) fn setup(&mut self) -> Result<(), BoxError> {
        if self.does == Does::FailInSetup {
            return Err("no model".into());
        }
        self.witness.note(Entry::SetUp(self.name.clone()));
        Ok(())
    }

    pub(crate) fn stage_run(&mut self, x: i64) -> Result<Give<i64>, BoxError> {
        let x = self.factor.wrapping_mul(x);
        if self.is_end {
            let sample = current_sample().expect("a stage runs on a sample");
            self.witness.note(Entry::Value(sample.id, x));
        }
        match self.does {
            Does::Double => Ok(Give::One(2 * x)),
            Does::SkipEven if x % 2 == 0 => Ok(Give::Skip),
            Does::Many(n) => Ok(Give::many((1..=n).map(move |i| 10 * x + i))),
            Does::BrokenMany => Ok(Give::many((1..=4).map(move |i| match i {
                1 | 2 => 10 * x + i,
                _ => panic!("broken iterator"),
            }))),
            Does::FailAtFirst { on, times } if x == on && self.failures < times => {
                self.failures += 1;
                Err(format!("{x} is bad for the time").into())
            }
            Does::BreakAtFirst { on, times } => {
                let breaks = x == on && self.failures < times;
                self.failures += u32::from(breaks);
                Ok(Give::many((1..=4).map(move |i| match i {
                    3 if breaks => panic!("broken iterator"),
                    i => 10 * x + i,
                })))
            }
            Does::FailOn(bad) | Does::FailWith(bad) if x == bad => Err(format!("{x} is bad").into()),
            Does::PanicOn(bad) if x == bad => panic!("{x} is very bad"),
            Does::HoldUntilFinish => {
                self.held.push(x);
                Ok(Give::Skip)
            }
            Does::Identity
            | Does::SkipEven
            | Does::FailOn(_)
            | Does::FailWith(_)
            | Does::OneTooFew
            | Does::FailAtFirst { .. }
            | Does::PanicOn(_)
            | Does::FinishGives(_)
            | Does::FailInSetup
            | Does::FailInFinish
            | Does::FailInTeardown => Ok(Give::One(x)),
        }
    }

    /// Runs on each sample of a batch.
    pub(crate) fn run_batch(&mut self, batch: &[i64]) -> Result<Vec<Result<Give<i64>, BoxError>>, BoxError> {
        match self.does {
            Does::FailWith(bad) if batch.contains(&bad) => Err(format!("{bad} is in the batch").into()),
            Does::PanicOn(bad) if batch.contains(&bad) => panic!("{bad} is very bad"),
            Does::OneTooFew => Ok(batch[1..].iter().map(|x| self.stage_run(*x)).collect()),
            _ => Ok(batch.iter().map(|x| self.stage_run(*x)).collect()),
        }
    }

    pub(crate) fn finish(&mut self) -> Result<Give<i64>, BoxError> {
        assert_eq!(current_sample(), None, "finish works on no sample");
        match self.does {
            Does::HoldUntilFinish => Ok(Give::many(std::mem::take(&mut self.held))),
            Does::FinishGives(n) => Ok(Give::many((1..=n).map(|i| -i))),
            Does::FailInFinish => Err("cannot finish".into()),
            _ => Ok(Give::Skip),
        }
    }

    pub(crate) fn teardown(&mut self) -> Result<(), BoxError> {
        self.witness.note(Entry::TornDown(self.name.clone()));
        match self.does {
            Does::FailInTeardown => Err("cannot close".into()),
            _ => Ok(()),
        }
    }
}

/// The samples 1, 2, 3, …
pub(crate) struct Numbers {
    pub(crate) given: i64,
    pub(crate) samples: i64,
    pub(crate) fails: bool,
    pub(crate) is_live: bool,
}

impl Numbers {
    /// Those of the source at the entrance of that place.
    pub(crate) fn of_entrance(place: usize, input: &Input) -> Self {
        let Input::Source { samples, fails, is_live, .. } = *input else { unreachable!("it is put into") };
        let given = EntranceSpec::before_first(place);
        Numbers { given, samples: given + samples, fails, is_live }
    }

    pub(crate) fn source_next(&mut self) -> Result<Option<i64>, BoxError> {
        if self.given == self.samples {
            return if self.fails { Err("camera unplugged".into()) } else { Ok(None) };
        }
        self.given += 1;
        Ok(Some(self.given))
    }
}
