//! Stages for video.
