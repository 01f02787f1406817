//! Drawing what is known about people into their picture.

mod canvas;
mod text;

use deeppipeline::{BoxError, Give, Stage};

use crate::scene::{Joint, Person, Pose, Scene};
use canvas::{Canvas, Colour};

/// Ten colours that are easy to tell apart, taken in turn by track number.
const PALETTE: [Colour; 10] = [
    [255, 99, 72],
    [46, 204, 113],
    [84, 160, 255],
    [255, 195, 18],
    [190, 120, 255],
    [18, 203, 196],
    [255, 121, 198],
    [163, 203, 56],
    [255, 159, 67],
    [200, 214, 229],
];

/// Letters lower than this many pixels are hard to read.
const SMALLEST_TEXT: f32 = 13.0;

/// The limbs that are drawn.
const LIMBS: [(Joint, Joint); 12] = [
    (Joint::LeftShoulder, Joint::RightShoulder),
    (Joint::LeftShoulder, Joint::LeftElbow),
    (Joint::LeftElbow, Joint::LeftWrist),
    (Joint::RightShoulder, Joint::RightElbow),
    (Joint::RightElbow, Joint::RightWrist),
    (Joint::LeftShoulder, Joint::LeftHip),
    (Joint::RightShoulder, Joint::RightHip),
    (Joint::LeftHip, Joint::RightHip),
    (Joint::LeftHip, Joint::LeftKnee),
    (Joint::LeftKnee, Joint::LeftAnkle),
    (Joint::RightHip, Joint::RightKnee),
    (Joint::RightKnee, Joint::RightAnkle),
];

/// Draws a box, a label (`#3 walking 87%`) and a skeleton for each person, in a colour that stays with their number.
///
/// It draws into the frame itself; the pixels are copied only if someone else holds the same frame.
#[derive(Clone, Debug, Default)]
pub struct Draw {}

impl Draw {
    /// Draws everything that is known.
    pub fn new() -> Self {
        Self {}
    }
}

impl Stage for Draw {
    type Input = Scene;
    type Output = Scene;

    fn stage_run(&mut self, mut scene: Scene) -> Result<Give<Scene>, BoxError> {
        let Scene { frame, people } = &mut scene;
        if people.is_empty() {
            return Ok(Give::One(scene));
        }
        let (width, height) = (frame.width, frame.height);
        let mut canvas = Canvas::new(frame.pixels_mut(), width, height);
        // Line width and text grow with the picture, so that a label is as readable in a small video as in a large one.
        let unit = (height as f32 / 360.0).max(1.0);
        for person in people.iter() {
            let colour = colour_of(person);
            canvas.frame(&person.bounds, unit.round() as i32, colour);
            if let Some(pose) = &person.pose {
                draw_skeleton(&mut canvas, pose, unit, colour);
            }
        }
        // Labels last: they must not be crossed by other people's lines.
        let mut taken = text::Taken::new();
        for person in people.iter() {
            if let Some(label) = label_of(person) {
                let size = (unit * 10.0).max(SMALLEST_TEXT);
                text::label(&mut canvas, &label, &person.bounds, size, colour_of(person), &mut taken);
            }
        }
        Ok(Give::One(scene))
    }
}

fn colour_of(person: &Person) -> Colour {
    PALETTE[person.track.unwrap_or(0) as usize % PALETTE.len()]
}

fn draw_skeleton(canvas: &mut Canvas<'_>, pose: &Pose, unit: f32, colour: Colour) {
    const MIN_SCORE: f32 = 0.3;
    const WHITE: Colour = [255; 3];
    let point =
        |joint| Some(pose.joint(joint)).filter(|point| point.score >= MIN_SCORE).map(|point| (point.x, point.y));
    for (from, to) in LIMBS {
        if let (Some(from), Some(to)) = (point(from), point(to)) {
            canvas.line(from, to, unit, colour);
        }
    }
    for keypoint in pose.keypoints.iter().filter(|point| point.score >= MIN_SCORE) {
        canvas.dot((keypoint.x, keypoint.y), unit * 1.2, WHITE);
    }
}

/// `#3 walking 87%`; without a percentage where the behaviour is unknown.
fn label_of(person: &Person) -> Option<String> {
    let number = person.track.map(|track| format!("#{track}"));
    let behaviour = person.behaviour.as_ref().map(|behaviour| {
        if behaviour.is_unknown() {
            behaviour.label.clone()
        } else {
            format!("{} {:.0}%", behaviour.label, behaviour.score * 100.0)
        }
    });
    match (number, behaviour) {
        (Some(number), Some(behaviour)) => Some(format!("{number} {behaviour}")),
        (number, behaviour) => number.or(behaviour),
    }
}
