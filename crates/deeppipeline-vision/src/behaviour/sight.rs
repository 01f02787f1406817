//! The sight of one person in one picture, and the part of a window of sights that counts.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::model::{Model, ModelError};
use crate::scene::{Bounds, Pose};

use super::still::{self, Opinion};

/// One sight of one person: of these, [`ClassifyBehaviour`](crate::ClassifyBehaviour) gets a window for each track.
#[derive(Clone, Debug)]
pub struct Sight {
    /// The time of the picture, see [`Frame::time`](crate::Frame::time).
    pub time: Duration,
    /// The place of the person.
    pub bounds: Bounds,
    /// The places of their joints.
    pub pose: Pose,
    /// The network's opinion of the pose, once it was asked; shared by every list that has this sight.
    opinion: Arc<OnceLock<Opinion>>,
}

impl Sight {
    pub(super) fn new(time: Duration, bounds: Bounds, pose: Pose) -> Self {
        Self { time, bounds, pose, opinion: Arc::default() }
    }

    /// The network's opinion of the pose; it is asked once.
    pub(super) fn opinion(&self, model: &mut Model) -> Result<&Opinion, ModelError> {
        match self.opinion.get() {
            Some(opinion) => Ok(opinion),
            None => {
                let opinion = still::classify(model, &self.pose)?;
                Ok(self.opinion.get_or_init(|| opinion))
            }
        }
    }
}

/// The end of a window that counts: what someone did before they were out of sight for a while, or long ago, says
/// nothing about now.
pub(super) fn recent(window: &[Sight]) -> &[Sight] {
    const LONGEST_GAP: Duration = Duration::from_secs(1);
    const OLDEST: Duration = Duration::from_secs(4);
    let Some(now) = window.last().map(|sight| sight.time) else { return window };
    let is_gap = |pair: &[Sight]| match pair[1].time.checked_sub(pair[0].time) {
        Some(between) => between > LONGEST_GAP,
        None => true,
    };
    let first = window.windows(2).rposition(is_gap).map_or(0, |before| before + 1);
    let unbroken = &window[first..];
    &unbroken[unbroken.partition_point(|sight| now - sight.time > OLDEST)..]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scene::{Joint, Keypoint};

    /// The times in milliseconds that count of a window with these.
    fn counted(times: &[u64]) -> Vec<u64> {
        let bounds = Bounds { left: 0.0, top: 0.0, right: 1.0, bottom: 1.0 };
        let pose = Pose { keypoints: [Keypoint::default(); Joint::COUNT] };
        let sight = |time: &u64| Sight::new(Duration::from_millis(*time), bounds, pose);
        let window: Vec<Sight> = times.iter().map(sight).collect();
        let times = recent(&window).iter().map(|sight| sight.time.as_millis());
        times.map(|time| u64::try_from(time).unwrap()).collect()
    }

    #[test]
    fn what_was_before_a_gap_does_not_count() {
        assert_eq!(counted(&[0, 1000, 2001, 2100]), [2001, 2100]);
        assert_eq!(counted(&[0, 1001, 2001]), [1001, 2001]);
        assert_eq!(counted(&[0, 40, 2000]), [2000]);
    }

    #[test]
    fn what_was_before_the_clock_went_back_does_not_count() {
        assert_eq!(counted(&[500, 540, 0, 40]), [0, 40]);
        assert_eq!(counted(&[0, 40, 40, 80]), [0, 40, 40, 80]);
    }

    #[test]
    fn what_is_older_than_four_seconds_does_not_count() {
        assert_eq!(counted(&[0, 900, 1800, 2700, 3600, 4000]), [0, 900, 1800, 2700, 3600, 4000]);
        assert_eq!(counted(&[0, 900, 1800, 2700, 3600, 4001]), [900, 1800, 2700, 3600, 4001]);
    }

    #[test]
    fn of_nothing_nothing_counts() {
        assert_eq!(counted(&[]), [0; 0]);
    }
}
