//! The decision whether someone walks or stands, from how their ankles and hips moved.

use std::time::Duration;

use crate::scene::{Joint, Keypoint, Pose};

use super::Sight;

/// A joint the pose model is less sure of is not looked at.
pub(super) const MIN_JOINT_SCORE: f32 = 0.3;

/// The motion of someone during a window; speeds are in body heights per second, so that distance from the camera and
/// frame rate cancel out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Motion {
    /// The mean speed of the ankles in the picture.
    pub(super) ankles: f32,
    /// The speed at which the middle of the hips got from its first to its last place.
    pub(super) root: f32,
    /// The part of the poses in which the body is upright, 0 to 1.
    pub(super) upright: f32,
}

impl Motion {
    /// The likelihood that the motion is that of someone who walks, 0 to 1; the rest is that of someone who stands.
    ///
    /// The ankles count most, the way of the hips confirms. Where the two balance was read off Debian's pedestrian clip
    /// (905 windows of 32 people): three in four of those on the spot are below an ankle speed of 0.35 and a hip speed
    /// of 0.1, nineteen in twenty of those who get on are above 0.33 and 0.3.
    pub(super) fn walking(&self) -> f32 {
        const ANKLES: f32 = 0.38;
        const ROOT: f32 = 0.2;
        const ANKLE_WEIGHT: f32 = 3.0;
        const ROOT_WEIGHT: f32 = 1.5;
        // Below this, speed is the model's jitter.
        const SLOWEST: f32 = 0.03;
        let part = |speed: f32, balance: f32| (speed.max(SLOWEST) / balance).ln();
        let odds = ANKLE_WEIGHT * part(self.ankles, ANKLES) + ROOT_WEIGHT * part(self.root, ROOT);
        1.0 / (1.0 + (-odds).exp())
    }

    /// Returns true if the body was upright nearly all the time; standing and walking mean nothing otherwise.
    pub(super) fn is_upright(&self) -> bool {
        const NEARLY_ALL: f32 = 0.8;
        self.upright >= NEARLY_ALL
    }

    /// Measures a window; `None` if it is too short or the joints were hardly seen.
    pub(super) fn measure(window: &[Sight]) -> Option<Self> {
        const SHORTEST_WINDOW: f32 = 0.4;
        const MIN_SEEN: f32 = 0.5;
        let (first, last) = (window.first()?, window.last()?);
        let span = last.time.saturating_sub(first.time).as_secs_f32();
        let height = median(window.iter().map(|sight| sight.bounds.height()).collect())?;
        if span < SHORTEST_WINDOW || height < 1.0 {
            return None;
        }
        let ankles: Vec<f32> = [Joint::LeftAnkle, Joint::RightAnkle]
            .into_iter()
            .flat_map(|ankle| speeds(window, move |pose| seen(pose.joint(ankle))))
            .collect();
        let roots: Vec<(Duration, (f32, f32))> =
            window.iter().filter_map(|sight| Some((sight.time, hips(&sight.pose)?))).collect();
        let upright: Vec<bool> = window.iter().filter_map(|sight| is_upright(&sight.pose)).collect();
        let enough = MIN_SEEN * window.len() as f32;
        if (ankles.len() as f32) < enough || (roots.len() as f32) < enough || (upright.len() as f32) < enough {
            return None;
        }
        let third = (roots.len() / 3).max(1);
        let (from, to) = (mean_place(&roots[..third]), mean_place(&roots[roots.len() - third..]));
        let seconds = (to.0 - from.0).max(0.1);
        Some(Self {
            ankles: mean(&ankles) / height,
            root: (to.1 - from.1).hypot(to.2 - from.2) / seconds / height,
            upright: upright.iter().filter(|&&it| it).count() as f32 / upright.len() as f32,
        })
    }
}

/// The speeds of a joint over steps of about a quarter of a second, which is long enough for the model's jitter not to
/// count as motion; pixels per second.
fn speeds<'a>(window: &'a [Sight], joint: impl Fn(&Pose) -> Option<(f32, f32)> + 'a) -> impl Iterator<Item = f32> + 'a {
    const STEP: Duration = Duration::from_millis(240);
    window.iter().enumerate().filter_map(move |(place, from)| {
        let to = window[place..].iter().find(|later| later.time >= from.time + STEP)?;
        let ((x0, y0), (x1, y1)) = (joint(&from.pose)?, joint(&to.pose)?);
        Some((x1 - x0).hypot(y1 - y0) / (to.time - from.time).as_secs_f32())
    })
}

/// Returns true if shoulders are above hips and hips above ankles, with a trunk nearer to the plumb line than 40
/// degrees.
fn is_upright(pose: &Pose) -> Option<bool> {
    const STEEPEST: f32 = 0.84; // tan 40°
    let shoulders = middle(pose, Joint::LeftShoulder, Joint::RightShoulder)?;
    let hips = hips(pose)?;
    let ankles = middle(pose, Joint::LeftAnkle, Joint::RightAnkle)?;
    let trunk = hips.1 - shoulders.1;
    Some(trunk > 0.0 && ankles.1 > hips.1 && (hips.0 - shoulders.0).abs() < STEEPEST * trunk)
}

pub(super) fn hips(pose: &Pose) -> Option<(f32, f32)> {
    middle(pose, Joint::LeftHip, Joint::RightHip)
}

/// The place between two joints, or that of the one that is seen.
pub(super) fn middle(pose: &Pose, left: Joint, right: Joint) -> Option<(f32, f32)> {
    match (seen(pose.joint(left)), seen(pose.joint(right))) {
        (Some((x0, y0)), Some((x1, y1))) => Some(((x0 + x1) / 2.0, (y0 + y1) / 2.0)),
        (one, other) => one.or(other),
    }
}

fn seen(point: Keypoint) -> Option<(f32, f32)> {
    (point.score >= MIN_JOINT_SCORE).then_some((point.x, point.y))
}

fn mean(values: &[f32]) -> f32 {
    values.iter().sum::<f32>() / values.len() as f32
}

/// The mean time in seconds and place.
fn mean_place(places: &[(Duration, (f32, f32))]) -> (f32, f32, f32) {
    let count = places.len() as f32;
    let sum =
        places.iter().fold((0.0, 0.0, 0.0), |sum, (time, (x, y))| (sum.0 + time.as_secs_f64(), sum.1 + x, sum.2 + y));
    ((sum.0 / f64::from(count)) as f32, sum.1 / count, sum.2 / count)
}

fn median(mut values: Vec<f32>) -> Option<f32> {
    values.sort_by(f32::total_cmp);
    values.get(values.len() / 2).copied()
}
