//! Naming what each person does, from how they moved and stood over a while.

mod motion;
mod still;

use std::collections::{HashMap, VecDeque};
use std::path::Path;
use std::time::Duration;

use deeppipeline::{BoxError, Give, Stage};

use crate::model::{LazyModel, ModelError, Runtime};
use crate::scene::{Behaviour, Bounds, Person, Pose, Scene};
use motion::Motion;
use still::Opinion;

/// Names what each tracked person does, from their last poses.
///
/// Motion decides first: `walking` or `standing`, by how fast ankles and hips move in body heights per second (so the
/// camera has to stand still). Only for someone who stands does a small network look at the pose, averaged over the
/// window; where it is sure that they sit, squat, or hold their arms in a known way, it says so. The score is how sure,
/// 0 to 1. Where neither is sure, where joints are hidden, where the body is not upright or the window is still short,
/// the behaviour is `unknown`. Running, jumping and falling are not among the answers: nobody has measured them.
pub struct ClassifyBehaviour {
    model: LazyModel,
    window: usize,
    tracks: HashMap<u64, History>,
    pictures: u64,
}

/// One sight of one person, and what the network thinks of it.
#[derive(Clone, Debug)]
struct Moment {
    time: Duration,
    bounds: Bounds,
    pose: Pose,
    opinion: Opinion,
}

/// The last sights of one person.
#[derive(Default)]
struct History {
    moments: VecDeque<Moment>,
    /// The number of the picture in which the person was last seen.
    last_seen: u64,
}

impl ClassifyBehaviour {
    /// Takes the model file `pose_classifier_body18.onnx`, which is loaded when the pipeline starts.
    ///
    /// # Errors
    /// If the file cannot be read or is no ONNX model.
    pub fn load(model: impl AsRef<Path>) -> Result<Self, ModelError> {
        Self::load_with(model, Runtime::Auto)
    }

    /// The same with a runtime of your choice.
    ///
    /// # Errors
    /// If the file cannot be read or is no ONNX model.
    pub fn load_with(model: impl AsRef<Path>, runtime: Runtime) -> Result<Self, ModelError> {
        const POSES: usize = 30;
        let model = LazyModel::new(model.as_ref(), runtime)?;
        Ok(Self { model, window: POSES, tracks: HashMap::new(), pictures: 0 })
    }

    /// How many of each person's last poses count; 30 unless told, at least 2. Poses older than four seconds never count.
    #[must_use]
    pub fn window(mut self, poses: usize) -> Self {
        self.window = poses.max(2);
        self
    }

    /// The behaviour of one person after one more pose.
    fn classify(&mut self, person: &Person, time: Duration) -> Result<Option<Behaviour>, ModelError> {
        let (Some(track), Some(pose)) = (person.track, person.pose) else { return Ok(None) };
        let opinion = still::classify(self.model.get()?, &pose)?;
        let history = self.tracks.entry(track).or_default();
        history.last_seen = self.pictures;
        history.add(Moment { time, bounds: person.bounds, pose, opinion }, self.window);
        Ok(Some(decide(history.moments.make_contiguous())))
    }

    /// Lets go of people who are gone, so that a stream may run for ever.
    fn forget(&mut self) {
        const SILENT_PICTURES: u64 = 150;
        const MAX_TRACKS: usize = 256;
        let pictures = self.pictures;
        self.tracks.retain(|_, history| pictures - history.last_seen <= SILENT_PICTURES);
        while self.tracks.len() > MAX_TRACKS {
            let silent = self.tracks.iter().min_by_key(|(track, history)| (history.last_seen, **track));
            let Some(silent) = silent.map(|(track, _)| *track) else { break };
            self.tracks.remove(&silent);
        }
    }
}

impl History {
    fn add(&mut self, moment: Moment, window: usize) {
        // What someone did before they were out of sight for a while, or long ago, says nothing about now.
        const LONGEST_GAP: Duration = Duration::from_secs(1);
        const OLDEST: Duration = Duration::from_secs(4);
        let since = |earlier: &Moment| moment.time.saturating_sub(earlier.time);
        if self.moments.back().is_some_and(|last| since(last) > LONGEST_GAP || last.time > moment.time) {
            self.moments.clear();
        }
        while self.moments.len() >= window || self.moments.front().is_some_and(|first| since(first) > OLDEST) {
            self.moments.pop_front();
        }
        self.moments.push_back(moment);
    }
}

impl Stage for ClassifyBehaviour {
    type Input = Scene;
    type Output = Scene;

    fn setup(&mut self) -> Result<(), BoxError> {
        self.model.get()?;
        Ok(())
    }

    fn stage_run(&mut self, mut scene: Scene) -> Result<Give<Scene>, BoxError> {
        self.pictures += 1;
        for person in &mut scene.people {
            person.behaviour = self.classify(person, scene.frame.time)?;
        }
        self.forget();
        Ok(Give::One(scene))
    }

    fn teardown(&mut self) -> Result<(), BoxError> {
        self.model.unload();
        self.tracks.clear();
        Ok(())
    }
}

/// What a window of poses shows: motion first, the still pose only for someone who stands.
fn decide(window: &[Moment]) -> Behaviour {
    /// Below this the two answers are too close to each other.
    const SURE: f32 = 0.65;
    /// The network is often wrong when it is less sure.
    const SURE_OF_POSE: f32 = 0.75;
    let Some(motion) = Motion::measure(window) else { return Behaviour::unknown(0.0) };
    let walking = motion.walking();
    let standing = 1.0 - walking;
    if !motion.is_upright() || walking.max(standing) < SURE {
        return Behaviour::unknown(walking.max(standing));
    }
    if walking > standing {
        return Behaviour { label: "walking".to_owned(), score: walking };
    }
    let opinions: Vec<&Opinion> = window.iter().map(|moment| &moment.opinion).collect();
    match still::likeliest(&opinions) {
        Some((label, score)) if score >= SURE_OF_POSE => {
            Behaviour { label: label.to_owned(), score: score.min(standing) }
        }
        _ => Behaviour { label: "standing".to_owned(), score: standing },
    }
}
