//! A search for settings with which a pipeline would do better, on the virtual clock.

use super::{Prediction, Setting, Timeline, WhatIfError};
use std::collections::BTreeMap;
use std::fmt;

/// What a pipeline is to do better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Goal {
    /// More samples come out in a second.
    Rate,
    /// What comes out is younger (the 99th percentile of its age), and not less of it.
    Age,
}

/// A step is worth it if it gains so much.
const GAIN: f64 = 0.01;
/// The buffer sizes that are tried.
const SIZES: [usize; 5] = [1, 2, 4, 8, 16];

/// The settings that were found, and what the pipeline would do with them.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Tuned {
    /// The settings to change; none where nothing better was found.
    pub settings: Vec<Setting>,
    /// What it does as it is.
    pub before: Prediction,
    /// What it would do.
    pub after: Prediction,
}

impl fmt::Display for Tuned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tuned { settings, before, after } = self;
        if settings.is_empty() {
            return write!(f, "nothing better was found: {before}");
        }
        let settings: Vec<String> = settings.iter().map(Setting::to_string).collect();
        write!(f, "{}: {after}; as it is: {before}", settings.join(" "))
    }
}

impl Goal {
    /// How good that is: more is better.
    fn of(self, prediction: &Prediction, before: &Prediction) -> f64 {
        match self {
            Goal::Rate => prediction.rate,
            Goal::Age if prediction.rate < before.rate * (1.0 - GAIN) => 0.0,
            Goal::Age => 1.0 / prediction.age_p99.as_secs_f64().max(1e-9),
        }
    }
}

/// The workers and the buffer size of each stage.
type Choice = Vec<(usize, usize)>;

/// A search, and what it has tried.
struct Search<'a> {
    timeline: &'a Timeline,
    goal: Goal,
    before: Prediction,
    known: BTreeMap<Choice, Prediction>,
}

impl Search<'_> {
    /// The settings that make the pipeline so.
    fn settings(&self, choice: &Choice) -> Result<Vec<Setting>, WhatIfError> {
        let mut settings = Vec::new();
        for (stage, (workers, size)) in self.timeline.stages.iter().zip(choice) {
            if *workers != stage.workers.max(1) {
                settings.push(Setting::new(&*stage.name, "workers", &workers.to_string())?);
            }
            if *size != stage.buffer_size {
                settings.push(Setting::new(&*stage.name, "buffer_size", &size.to_string())?);
            }
        }
        Ok(settings)
    }

    fn score(&mut self, choice: &Choice) -> Result<f64, WhatIfError> {
        let prediction = match self.known.get(choice) {
            Some(known) => *known,
            None => self.timeline.what_if(&self.settings(choice)?)?,
        };
        self.known.insert(choice.clone(), prediction);
        Ok(self.goal.of(&prediction, &self.before))
    }

    /// The best of some, if it is worth the step.
    fn best_of(&mut self, choices: Vec<Choice>, than: f64) -> Result<Option<(f64, Choice)>, WhatIfError> {
        let mut best: Option<(f64, Choice)> = None;
        for choice in choices {
            let score = match self.score(&choice) {
                // A stage that may not have several workers, for one.
                Err(WhatIfError::Graph(_)) => continue,
                score => score?,
            };
            let beaten = best.as_ref().map_or(than * (1.0 + GAIN), |(score, _)| *score);
            if score > beaten {
                best = Some((score, choice));
            }
        }
        Ok(best)
    }
}

impl Timeline {
    /// Searches for numbers of workers, so many of all stages together at most, and buffer sizes with which the pipeline would
    /// do better. It goes step by step, and looks two steps ahead where one gains nothing, so there may be something
    /// better still. Of what it supposes see [`what_if`](Timeline::what_if).
    ///
    /// # Errors
    /// A stage of which nothing is known.
    pub fn tune(&self, goal: Goal, most_workers: usize) -> Result<Tuned, WhatIfError> {
        let before = self.what_if(&[])?;
        let mut search = Search { timeline: self, goal, before, known: BTreeMap::new() };
        let mut choice: Choice = self.stages.iter().map(|stage| (stage.workers.max(1), stage.buffer_size)).collect();
        let mut score = search.score(&choice)?;
        loop {
            let steps = self.steps(&choice, most_workers);
            let mut best = search.best_of(steps.clone(), score)?;
            if best.is_none() {
                // Where two stages limit, neither alone is worth a worker.
                let twice = steps.iter().flat_map(|step| self.steps(step, most_workers));
                let only_workers = |step: &Choice| step.iter().zip(&choice).all(|(now, before)| now.1 == before.1);
                best = search.best_of(twice.filter(only_workers).collect(), score)?;
            }
            match best {
                Some(better) => (score, choice) = better,
                None => break,
            }
        }
        let (settings, after) = (search.settings(&choice)?, search.known[&choice]);
        Ok(Tuned { settings, before, after })
    }

    /// What is one step from that: a worker more, or another buffer size.
    fn steps(&self, choice: &Choice, most_workers: usize) -> Vec<Choice> {
        let workers: usize = choice.iter().map(|(workers, _)| workers).sum();
        let mut steps = Vec::new();
        for (index, stage) in self.stages.iter().enumerate() {
            let mut add = |changed: (usize, usize)| {
                let mut step = choice.clone();
                step[index] = changed;
                steps.push(step);
            };
            let (of_stage, size) = choice[index];
            if workers < most_workers {
                add((of_stage + 1, size));
            }
            let smaller = SIZES.into_iter().rev().find(|smaller| *smaller < size);
            let larger = SIZES.into_iter().find(|larger| *larger > size);
            // How many a list has may follow from the size.
            if !stage.intake.takes_lists() {
                smaller.into_iter().chain(larger).for_each(|size| add((of_stage, size)));
            }
        }
        steps
    }
}
