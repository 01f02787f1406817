//! Naming what each person does, from how they moved and stood over a while.

mod motion;
mod still;

use std::collections::{HashMap, VecDeque};
use std::path::Path;
use std::time::Duration;

use deeppipeline::{BoxError, Give, Stage};

use crate::model::{LazyModel, ModelError, Runtime};
use crate::scene::{Behaviour, Bounds, Pose, Scene};
use motion::Motion;

/// One sight of one person.
#[derive(Clone, Debug)]
struct Moment {
    time: Duration,
    bounds: Bounds,
    pose: Pose,
}

/// x
pub struct ClassifyBehaviour {
    model: LazyModel,
    window: usize,
    tracks: HashMap<u64, History>,
    pictures: u64,
}

#[derive(Default)]
struct History {
    moments: VecDeque<Moment>,
    opinions: VecDeque<[f32; 20]>,
    last_seen: u64,
}

impl ClassifyBehaviour {
    /// x
    pub fn load(model: impl AsRef<Path>) -> Result<Self, ModelError> {
        Ok(Self {
            model: LazyModel::new(model.as_ref(), Runtime::Auto)?,
            window: 30,
            tracks: HashMap::new(),
            pictures: 0,
        })
    }
    /// x
    pub fn window(mut self, n: usize) -> Self {
        self.window = n;
        self
    }
}

impl Stage for ClassifyBehaviour {
    type Input = Scene;
    type Output = Scene;
    fn stage_run(&mut self, mut scene: Scene) -> Result<Give<Scene>, BoxError> {
        for person in &mut scene.people {
            let (Some(track), Some(pose)) = (person.track, person.pose) else { continue };
            let h = self.tracks.entry(track).or_default();
            h.moments.push_back(Moment { time: scene.frame.time, bounds: person.bounds, pose });
            h.opinions.push_back(still::classify(self.model.get()?, &pose)?);
            while h.moments.len() > self.window {
                h.moments.pop_front();
                h.opinions.pop_front();
            }
            let m = Motion::measure(h.moments.make_contiguous());
            let l = still::likeliest(h.opinions.make_contiguous());
            println!("DUMP {} {} {:?} {:?} {:?}", scene.frame.index, track, person.bounds, m, l);
            person.behaviour = l.map(|l| Behaviour { label: l.0.into(), score: l.1 });
        }
        Ok(Give::One(scene))
    }
}
