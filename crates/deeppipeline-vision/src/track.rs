//! Giving each person a number that stays with them.

use deeppipeline::{BoxError, Give, Stage};
use trackforge::trackers::byte_track::{ByteTrack, ByteTrackParams};

use crate::scene::Scene;

/// Gives each person a number that stays with them, by ByteTrack.
///
/// ByteTrack (Zhang et al. 2022, <https://arxiv.org/abs/2110.06864>) predicts every box with a Kalman filter and
/// matches predictions and detections by overlap, first with the detections that are sure, then what is left with those
/// that are not: someone half hidden keeps their number. The crate `trackforge` computes it; it pairs boxes greedily,
/// best overlap first, where the paper solves the assignment, and gives a number at the first sure sight, where the
/// paper waits for a second. Here the number is shown from the third sight on.
///
/// People without a number (unsure ones that belong to no known person) are left out of what goes on.
pub struct Track {
    params: ByteTrackParams,
    tracker: ByteTrack,
    /// Numbers in use: the tracker's, and the one shown, which leaves no gaps for those never confirmed.
    shown: Vec<Number>,
    next: u64,
    pictures: u64,
}

/// One number and what is known of its use.
struct Number {
    internal: u64,
    shown: Option<u64>,
    sights: u32,
    last_seen: u64,
}

impl Default for Track {
    fn default() -> Self {
        Self::new()
    }
}

impl Track {
    /// Follows people with the paper's settings, but for scores: detections from 0.4 on count as sure and new people
    /// need 0.5, a tenth less than in the paper, because NanoDet's scores run lower. Someone out of sight is remembered
    /// for 30 pictures.
    pub fn new() -> Self {
        Self::with(ByteTrackParams { track_thresh: 0.4, det_thresh: 0.5, ..ByteTrackParams::default() })
    }

    /// Remembers someone out of sight for that many pictures.
    #[must_use]
    pub fn remember(self, pictures: usize) -> Self {
        let mut params = self.params;
        params.common.max_age = pictures;
        Self::with(params)
    }

    /// The score that the detector must give someone new, 0 to 1.
    #[must_use]
    pub fn new_from(self, score: f32) -> Self {
        Self::with(ByteTrackParams {
            det_thresh: score,
            track_thresh: self.params.track_thresh.min(score),
            ..self.params
        })
    }

    fn with(params: ByteTrackParams) -> Self {
        Self { params, tracker: ByteTrack::from_params(params), shown: Vec::new(), next: 1, pictures: 0 }
    }

    /// The number to show for one of the tracker's; none until it was seen a few times.
    fn number(&mut self, internal: u64) -> Option<u64> {
        const SIGHTS: u32 = 3;
        let place = self.shown.iter().position(|number| number.internal == internal).unwrap_or_else(|| {
            self.shown.push(Number { internal, shown: None, sights: 0, last_seen: 0 });
            self.shown.len() - 1
        });
        let number = &mut self.shown[place];
        number.sights = number.sights.saturating_add(1);
        number.last_seen = self.pictures;
        // In the first picture everyone is new.
        if number.sights >= SIGHTS || self.pictures == 1 {
            let next = &mut self.next;
            number.shown.get_or_insert_with(|| std::mem::replace(next, *next + 1));
        }
        number.shown
    }
}

impl Stage for Track {
    type Input = Scene;
    type Output = Scene;

    fn stage_run(&mut self, mut scene: Scene) -> Result<Give<Scene>, BoxError> {
        const PERSON: i64 = 0;
        let detections = scene.people.iter().map(|person| {
            let bounds = &person.bounds;
            ([bounds.left, bounds.top, bounds.width(), bounds.height()], person.score, PERSON)
        });
        self.pictures += 1;
        for track in self.tracker.update(detections.collect()) {
            let number = self.number(track.track_id);
            if let Some(person) = track.det_ind.and_then(|place| scene.people.get_mut(place)) {
                person.track = number;
            }
        }
        let forgotten = self.pictures.saturating_sub(self.params.common.max_age as u64 + 1);
        self.shown.retain(|number| number.last_seen >= forgotten);
        scene.people.retain(|person| person.track.is_some());
        Ok(Give::One(scene))
    }
}
