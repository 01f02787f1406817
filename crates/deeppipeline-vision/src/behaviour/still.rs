//! Naming the pose of someone who does not move, with a small network.
//!
//! The network (`pose_classifier_body18.onnx`) looks at one pose at a time; its opinions are averaged over the window.
//! It is right on clear poses and wrong on people who walk or hold their arms overhead, so it is asked only about
//! people who keep still, and believed only when it is sure.

use crate::model::{Model, ModelError, Values};
use crate::scene::{Joint, Pose};

/// The network's classes in its own order, in words for people to read.
const LABELS: [&str; 20] = [
    "sitting",
    "standing",
    "right arm raised",
    "left arm raised",
    "arms spread",
    "saluting",
    "push-up",
    "squatting",
    "plank",
    "tree pose",
    "tree pose",
    "upward salute",
    "warrior pose",
    "warrior pose",
    "signalling stop",
    "signalling stop behind",
    "signalling stop ahead",
    "signalling stop ahead and behind",
    "signalling left",
    "signalling right",
];
const POINTS: usize = Joint::COUNT + 1;

/// The chance of each class, which sum up to 1.
pub(super) type Opinion = [f32; LABELS.len()];

/// Runs the network on one pose.
pub(super) fn classify(model: &mut Model, pose: &Pose) -> Result<Opinion, ModelError> {
    let outputs = model.run(&[1, POINTS, 2], Values::F32(&body18(pose)))?;
    let scores = outputs.first().and_then(|output| output.values.as_slice().try_into().ok());
    scores.ok_or_else(|| model.unsuitable(format!("it has no output of {} scores", LABELS.len())))
}

/// The likeliest label of a window and its mean chance; classes with the same label count together.
pub(super) fn likeliest(opinions: &[&Opinion]) -> Option<(&'static str, f32)> {
    let count = opinions.len() as f32;
    let chance = |label: &str| {
        let of_label = |opinion: &&Opinion| -> f32 {
            opinion.iter().zip(LABELS).filter(|(_, name)| *name == label).map(|(score, _)| score).sum()
        };
        opinions.iter().map(of_label).sum::<f32>() / count
    };
    if opinions.is_empty() {
        return None;
    }
    LABELS.into_iter().map(|label| (label, chance(label))).max_by(|a, b| a.1.total_cmp(&b.1))
}

/// The input of the network: the joints and the neck, y upwards, centred, the larger extent 1.
fn body18(pose: &Pose) -> [f32; 2 * POINTS] {
    let [left, right] = [Joint::LeftShoulder, Joint::RightShoulder].map(|joint| pose.joint(joint));
    let neck = ((left.x + right.x) / 2.0, (left.y + right.y) / 2.0);
    let points = pose.keypoints.iter().map(|point| (point.x, point.y)).chain([neck]);
    let edge = |pick: fn((f32, f32)) -> f32, better: fn(f32, f32) -> f32| {
        points.clone().map(pick).reduce(better).unwrap_or(0.0)
    };
    let (left, right) = (edge(|p| p.0, f32::min), edge(|p| p.0, f32::max));
    let (top, bottom) = (edge(|p| p.1, f32::min), edge(|p| p.1, f32::max));
    let extent = (right - left).max(bottom - top).max(1.0);
    let mut input = [0.0; 2 * POINTS];
    for (to, (x, y)) in input.chunks_exact_mut(2).zip(points) {
        to[0] = (x - (left + right) / 2.0) / extent;
        to[1] = ((top + bottom) / 2.0 - y) / extent;
    }
    input
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scene::Keypoint;

    #[test]
    fn classes_with_one_label_count_together() {
        let mut opinion: Opinion = [0.0; LABELS.len()];
        (opinion[1], opinion[9], opinion[10]) = (0.4, 0.3, 0.3);
        let (label, score) = likeliest(&[&opinion]).unwrap();
        assert_eq!(label, "tree pose");
        assert!((score - 0.6).abs() < 1e-6);
        assert_eq!(likeliest(&[]), None);
    }

    #[test]
    fn poses_are_centred_turned_up_and_scaled() {
        let mut pose = Pose { keypoints: [Keypoint { x: 100.0, y: 100.0, score: 1.0 }; Joint::COUNT] };
        pose.keypoints[Joint::Nose as usize].y = 0.0;
        pose.keypoints[Joint::LeftAnkle as usize].y = 200.0;
        let input = body18(&pose);
        assert_eq!(input[0..2], [0.0, 0.5]);
        assert_eq!(input[2 * (Joint::LeftAnkle as usize) + 1], -0.5);
        assert_eq!(input[34..36], [0.0, 0.0]);
    }
}
