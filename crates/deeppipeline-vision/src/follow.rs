//! Following people through every picture, where only some were looked for.

use deeppipeline::{BoxError, Give, Stage};
use serde::{Deserialize, Serialize};

use crate::frame::Frame;
use crate::scene::{Bounds, Person, Scene};
use crate::track::Track;

/// The people that were found in one picture, without the picture.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Detections {
    /// The number of the picture in its video, from 0.
    pub index: u64,
    /// The people in it.
    pub people: Vec<Person>,
}

impl From<Scene> for Detections {
    fn from(scene: Scene) -> Self {
        Self { index: scene.frame.index, people: scene.people }
    }
}

/// Gives each person a number that stays with them, in every picture, though only some pictures are looked at: a
/// [`Track`] for a detector that is slow.
///
/// It gets each picture with the newest detections that there are, and `None` before the first: what
/// [`parallel_latest`](deeppipeline::builder::Builder::parallel_latest) gives. New detections are tracked in the picture
/// that they are of; from there on a box keeps its size and its centre moves on as it did between the last detections of
/// that person, in so many pictures as [`reach`](Follow::reach) says.
///
/// ```
/// use deeppipeline::{Pipeline, chain};
/// use deeppipeline_vision::{Detections, Follow, Frame, Scene};
///
/// // In place of a detector that loads a model: it finds nobody.
/// let detect = |frame: Frame| Scene::new(frame);
/// let every_third = |frame: Frame| (frame.index % 3 == 0).then_some(frame);
/// let pipeline = Pipeline::builder()
///     .parallel_latest((|frame: Frame| frame, chain().stage(every_third).stage(detect).stage(Detections::from)))
///     .stage(Follow::default())
///     .end_stage(|scene: Scene| println!("{:?}: {} people", scene.frame, scene.people.len()))
///     .start()?;
/// pipeline.setstop()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Follow {
    track: Track,
    reach: u64,
    /// The picture of the newest detections.
    seen_at: Option<u64>,
    people: Vec<Followed>,
}

/// Someone, where they were last seen, and how their box moves.
struct Followed {
    person: Person,
    /// Pixels that the centre moves from one picture to the next, to the right and downwards.
    speed: (f32, f32),
}

impl Default for Follow {
    fn default() -> Self {
        Self::new(Track::new())
    }
}

impl Follow {
    /// Follows the people to whom that tracker gives numbers.
    pub fn new(track: Track) -> Self {
        const REACH: u64 = 30;
        Self { track, reach: REACH, seen_at: None, people: Vec::new() }
    }

    /// The number of pictures behind the newest detections for which people are shown: 30 by default.
    #[must_use]
    pub fn reach(self, pictures: u64) -> Self {
        Self { reach: pictures, ..self }
    }

    /// Takes in detections, unless it has them already.
    fn renew(&mut self, frame: &Frame, detections: Detections) -> Result<(), BoxError> {
        let Detections { index, people } = detections;
        if self.seen_at.is_some_and(|seen_at| index <= seen_at) {
            return Ok(());
        }
        // The tracker looks at boxes alone, so that any picture will do.
        let Give::One(tracked) = self.track.stage_run(Scene { frame: frame.clone(), people })? else { return Ok(()) };
        let pictures = self.seen_at.map_or(1, |seen_at| index - seen_at);
        let known = std::mem::take(&mut self.people);
        self.people = tracked.people.into_iter().map(|person| followed(person, &known, pictures)).collect();
        self.seen_at = Some(index);
        Ok(())
    }
}

/// Someone as they are seen now, that many pictures after they were seen before.
fn followed(person: Person, known: &[Followed], pictures: u64) -> Followed {
    let before = known.iter().find(|known| known.person.track == person.track);
    let speed = before.map_or((0.0, 0.0), |before| {
        let (from, to) = (before.person.bounds.center(), person.bounds.center());
        // Arms that are stretched out move a centre, too: half of what is new counts.
        let mean = |old: f32, moved: f32| (old + moved / pictures as f32) / 2.0;
        (mean(before.speed.0, to.0 - from.0), mean(before.speed.1, to.1 - from.1))
    });
    Followed { person, speed }
}

impl Stage for Follow {
    type Input = (Frame, Option<Detections>);
    type Output = Scene;

    fn stage_run(&mut self, (frame, newest): Self::Input) -> Result<Give<Scene>, BoxError> {
        if let Some(detections) = newest {
            self.renew(&frame, detections)?;
        }
        let pictures = self.seen_at.map_or(0, |seen_at| frame.index.saturating_sub(seen_at));
        if pictures > self.reach {
            return Ok(Give::One(Scene::new(frame)));
        }

        let people = self.people.iter().filter_map(|Followed { person, speed }| {
            let (x, y) = (speed.0 * pictures as f32, speed.1 * pictures as f32);
            let Bounds { left, top, right, bottom } = person.bounds;
            let bounds = Bounds { left: left + x, top: top + y, right: right + x, bottom: bottom + y };
            let (width, height) = (frame.width as f32, frame.height as f32);
            let is_in_picture = bounds.left < width && bounds.top < height && bounds.right > 0.0 && bounds.bottom > 0.0;
            is_in_picture.then(|| Person { bounds, ..person.clone() })
        });
        let people = people.collect();
        Ok(Give::One(Scene { frame, people }))
    }
}
