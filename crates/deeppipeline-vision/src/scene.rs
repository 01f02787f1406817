//! The knowledge about the people in one picture; each stage fills in a little more.

use serde::{Deserialize, Serialize};

use crate::frame::Frame;

/// A picture and the people in it.
#[derive(Clone, Debug)]
pub struct Scene {
    /// The picture.
    pub frame: Frame,
    /// The people found so far, in no particular order.
    pub people: Vec<Person>,
}

impl Scene {
    /// A picture in which no people were looked for yet.
    pub fn new(frame: Frame) -> Self {
        Self { frame, people: Vec::new() }
    }
}

/// One person in one picture.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Person {
    /// The place of the person.
    pub bounds: Bounds,
    /// The confidence of the detector, 0 to 1.
    pub score: f32,
    /// The number the tracker gave this person, from 1.
    pub track: Option<u64>,
    /// The places of the joints.
    pub pose: Option<Pose>,
    /// The behaviour of the person.
    pub behaviour: Option<Behaviour>,
}

impl Person {
    /// A person about whom only the place is known.
    pub fn new(bounds: Bounds, score: f32) -> Self {
        Self { bounds, score, track: None, pose: None, behaviour: None }
    }
}

/// An upright box, in pixels of the frame; `right` and `bottom` lie just outside.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bounds {
    /// Left edge.
    pub left: f32,
    /// Top edge.
    pub top: f32,
    /// Right edge.
    pub right: f32,
    /// Bottom edge.
    pub bottom: f32,
}

impl Bounds {
    /// Width in pixels, never negative.
    pub fn width(&self) -> f32 {
        (self.right - self.left).max(0.0)
    }

    /// Height in pixels, never negative.
    pub fn height(&self) -> f32 {
        (self.bottom - self.top).max(0.0)
    }

    /// The centre, x and y.
    pub fn center(&self) -> (f32, f32) {
        ((self.left + self.right) / 2.0, (self.top + self.bottom) / 2.0)
    }

    /// Intersection over union with another box: 0 (apart) to 1 (the same).
    pub fn overlap(&self, other: &Bounds) -> f32 {
        let width = (self.right.min(other.right) - self.left.max(other.left)).max(0.0);
        let height = (self.bottom.min(other.bottom) - self.top.max(other.top)).max(0.0);
        let shared = width * height;
        let union = self.width() * self.height() + other.width() * other.height() - shared;
        if union > 0.0 { shared / union } else { 0.0 }
    }
}

/// The joints of one person, in the order of the COCO data set (see [`Joint`]).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pose {
    /// One point for each joint.
    pub keypoints: [Keypoint; Joint::COUNT],
}

impl Pose {
    /// The point of one joint.
    pub fn joint(&self, joint: Joint) -> Keypoint {
        self.keypoints[joint as usize]
    }
}

/// The place of one joint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Keypoint {
    /// Column, in pixels of the frame.
    pub x: f32,
    /// Row, in pixels of the frame, downwards.
    pub y: f32,
    /// The confidence of the model, 0 to 1.
    pub score: f32,
}

/// The joints of a [`Pose`], by their place in its list; left and right are the person's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "each name says all there is to say")]
pub enum Joint {
    Nose,
    LeftEye,
    RightEye,
    LeftEar,
    RightEar,
    LeftShoulder,
    RightShoulder,
    LeftElbow,
    RightElbow,
    LeftWrist,
    RightWrist,
    LeftHip,
    RightHip,
    LeftKnee,
    RightKnee,
    LeftAnkle,
    RightAnkle,
}

impl Joint {
    /// The number of joints of a pose.
    pub const COUNT: usize = 17;
}

/// The behaviour of a person.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Behaviour {
    /// A word or two for people to read: `walking`, `standing`, `unknown`.
    pub label: String,
    /// The confidence, 0 to 1.
    pub score: f32,
}

impl Behaviour {
    const UNKNOWN: &str = "unknown";

    /// Someone whose behaviour cannot be told; `score` is how likely the best guess was.
    pub fn unknown(score: f32) -> Self {
        Self { label: Self::UNKNOWN.to_owned(), score }
    }

    /// Returns true if it could not be told.
    pub fn is_unknown(&self) -> bool {
        self.label == Self::UNKNOWN
    }
}
