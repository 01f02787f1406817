//! Naming what each person does, from how they moved and stood over a while.

mod motion;
mod sight;
mod still;

use std::collections::HashMap;
use std::path::Path;

use deeppipeline::intake::Windows;
use deeppipeline::{BoxError, Give, Stage, Window, current_sample};

use crate::model::{LazyModel, ModelError, Runtime};
use crate::scene::{Behaviour, Person, Scene};
use motion::Motion;
use sight::recent;
use still::Opinion;

pub use sight::Sight;

/// Names what each tracked person does, from their last poses.
///
/// Motion decides first: `walking` or `standing`, by how fast ankles and hips move in body heights per second (so the
/// camera has to stand still). Only for someone who stands does a small network look at the pose, averaged over the
/// window; where it is sure that they sit, squat, or hold their arms in a known way, it says so. The score is how sure,
/// 0 to 1. Where neither is sure, where joints are hidden, where the body is not upright or the window is still short,
/// the behaviour is `unknown`. Running, jumping and falling are not among the answers: they have not been measured.
///
/// It remembers no person: the pipeline keeps a window for each track of each source, and one scene stays one sample.
///
/// ```no_run
/// use deeppipeline::{Pipeline, stage};
/// use deeppipeline_vision::{Capture, ClassifyBehaviour, DetectPeople, EstimatePose, Record, Track};
///
/// let classify = ClassifyBehaviour::load("models/pose_classifier_body18.onnx")?;
/// Pipeline::builder()
///     .source(Capture::open("clips/park.mp4")?)
///     .stage(DetectPeople::load("models/nanodet_416.onnx")?)
///     .stage(Track::new())
///     .stage(EstimatePose::load("models/movenet_lightning_192.onnx")?)
///     .stage(stage(classify).intake(ClassifyBehaviour::window().by_keys(ClassifyBehaviour::sights)))
///     .end_stage(Record::create("people.jsonl")?)
///     .run()?;
/// # Ok::<(), deeppipeline::BoxError>(())
/// ```
pub struct ClassifyBehaviour {
    model: LazyModel,
}

/// A person who is followed, among the people of all sources.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TrackId {
    /// The name of the source whose picture they are in; `None` where the pipeline has one without a name.
    pub source: Option<String>,
    /// The number that the tracker of that source gave them.
    pub number: u64,
}

impl TrackId {
    /// The person of that number in the picture that the calling stage works on.
    fn of(number: u64) -> Self {
        let source = current_sample().and_then(|sample| sample.source().map(str::to_owned));
        Self { source, number }
    }
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
        Ok(Self { model: LazyModel::new(model.as_ref(), runtime)? })
    }

    /// The windows that it is made for: each person's last 30 sights, or what there is of them. Sights older than four
    /// seconds never count, nor what was before a second out of sight. Lets go of people who are gone, so that a stream
    /// may run for ever.
    pub fn window() -> Window {
        Self::window_of(1)
    }

    /// The same for the people of so many sources, which are remembered for as long as those of one alone.
    pub fn window_of(sources: usize) -> Window {
        const IDLE: u64 = 150;
        const MAX_PEOPLE: usize = 256;
        Window::new(30).partial().idle(IDLE * sources as u64).max_keys(MAX_PEOPLE * sources)
    }

    /// The people in a scene of whom there is something to keep: their tracks, and what is seen of each.
    pub fn sights(scene: &Scene) -> Vec<(TrackId, Sight)> {
        let time = scene.frame.time;
        let sight = |person: &Person| Some((TrackId::of(person.track?), Sight::new(time, person.bounds, person.pose?)));
        scene.people.iter().filter_map(sight).collect()
    }

    /// Decides on the behaviour in a window of poses: motion first, the still pose only for someone who stands.
    fn decide(&mut self, window: &[Sight]) -> Result<Behaviour, ModelError> {
        /// The likelihood below which the two answers are too close to each other.
        const SURE: f32 = 0.65;
        /// The network is often wrong when it is less sure.
        const SURE_OF_POSE: f32 = 0.75;
        let Some(motion) = Motion::measure(window) else { return Ok(Behaviour::unknown(0.0)) };
        let walking = motion.walking();
        let standing = 1.0 - walking;
        if !motion.is_upright() || walking.max(standing) < SURE {
            return Ok(Behaviour::unknown(walking.max(standing)));
        }
        if walking > standing {
            return Ok(Behaviour { label: "walking".to_owned(), score: walking });
        }
        let model = self.model.get()?;
        let opinions: Vec<&Opinion> = window.iter().map(|sight| sight.opinion(model)).collect::<Result<_, _>>()?;
        Ok(match still::likeliest(&opinions) {
            Some((label, score)) if score >= SURE_OF_POSE => {
                Behaviour { label: label.to_owned(), score: score.min(standing) }
            }
            _ => Behaviour { label: "standing".to_owned(), score: standing },
        })
    }
}

impl Stage for ClassifyBehaviour {
    type Input = Windows<Scene, TrackId, Sight>;
    type Output = Scene;

    fn setup(&mut self) -> Result<(), BoxError> {
        self.model.get()?;
        Ok(())
    }

    fn stage_run(&mut self, seen: Self::Input) -> Result<Give<Scene>, BoxError> {
        let mut behaviours = HashMap::new();
        for (track, window) in seen.iter() {
            behaviours.insert(track.number, self.decide(recent(window))?);
        }
        let mut scene = seen.sample;
        for person in &mut scene.people {
            person.behaviour = person.track.and_then(|track| behaviours.remove(&track));
        }
        Ok(Give::One(scene))
    }

    fn teardown(&mut self) -> Result<(), BoxError> {
        self.model.unload();
        Ok(())
    }
}
