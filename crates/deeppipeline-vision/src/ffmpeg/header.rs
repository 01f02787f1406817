//! Reading what ffmpeg says about an input and about each picture.

use std::time::Duration;

/// The properties of a video stream that ffmpeg announces before it decodes it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Header {
    /// The length of the file; `None` where ffmpeg cannot know it (cameras, live streams).
    pub(crate) duration: Option<Duration>,
    /// Pictures per second as announced.
    pub(crate) frame_rate: Option<f64>,
    /// The pixel format, `yuv420p`.
    pixel_format: String,
    /// The colour matrix by name; `None` when the stream does not say.
    matrix: Option<String>,
    /// The transfer characteristic by name, where it is one of high dynamic range.
    pub(crate) hdr: Option<String>,
    codec: String,
    rows: u32,
}

impl Header {
    /// Takes in one line; anything but the input's length and its first video stream is ignored. Says whether the line
    /// was about that stream, which comes last.
    pub(crate) fn read(&mut self, line: &str) -> bool {
        let line = line.trim();
        if let Some(rest) = line.strip_prefix("Duration: ") {
            self.duration = rest.split(',').next().and_then(clock);
        } else if line.starts_with("Stream #0:")
            && !line.contains("(attached pic)")
            && let Some((_, rest)) = line.split_once(": Video: ")
            && self.codec.is_empty()
        {
            self.read_stream(rest);
            return true;
        }
        false
    }

    fn read_stream(&mut self, description: &str) {
        for (place, part) in split_outside_brackets(description).into_iter().enumerate() {
            let bare = part.split(['(', ' ']).next().unwrap_or(part);
            match place {
                0 => self.codec = bare.to_owned(),
                1 => {
                    self.pixel_format = bare.to_owned();
                    let inside = part.split_once('(').map_or("", |(_, inside)| inside.trim_end_matches(')'));
                    self.matrix = matrix_in(inside);
                    self.hdr = hdr_in(inside);
                }
                _ => {
                    if let Some(rate) = part.strip_suffix(" fps") {
                        self.frame_rate = rate.replace('k', "e3").parse().ok().filter(|rate: &f64| *rate > 0.0);
                    } else if let Some((_, rows)) = bare.split_once('x')
                        && self.rows == 0
                    {
                        self.rows = rows.parse().unwrap_or(0);
                    }
                }
            }
        }
    }

    /// The colour matrix to name to ffmpeg: it takes every stream without a tag for standard definition (BT.601), where
    /// players and cameras mean BT.709 from 720 rows on. Motion JPEG is BT.601 by definition.
    pub(crate) fn matrix_to_assume(&self) -> Option<&'static str> {
        const HD_ROWS: u32 = 720;
        let luma_chroma = self.pixel_format.starts_with("yuv") || self.pixel_format.starts_with("nv");
        let untagged = self.matrix.is_none() && luma_chroma && self.codec != "mjpeg";
        (untagged && self.rows >= HD_ROWS).then_some("bt709")
    }
}

/// `5.1.9-0+deb12u1 Copyright…` or `n7.1` as major and minor version.
pub(super) fn version(text: &str) -> Option<(u32, u32)> {
    let word = text.split_whitespace().next()?.trim_start_matches(['n', 'v']);
    let mut numbers = word.split(|c: char| !c.is_ascii_digit()).map(|number| number.parse().ok());
    Some((numbers.next()??, numbers.next().flatten().unwrap_or(0)))
}

/// `00:01:02.50` as a duration; `N/A` is none.
fn clock(text: &str) -> Option<Duration> {
    let seconds = text.split(':').try_fold(0.0, |sum, part| Some(sum * 60.0 + part.trim().parse::<f64>().ok()?))?;
    Duration::try_from_secs_f64(seconds).ok()
}

/// The colour matrix in `tv, bt709, progressive` or `tv, bt709/bt709/iec61966-2-1`.
fn matrix_in(inside: &str) -> Option<String> {
    const OTHER_WORDS: [&str; 9] = [
        "tv",
        "pc",
        "unknown",
        "progressive",
        "top first",
        "bottom first",
        "top coded first (swapped)",
        "gbr",
        "bottom coded first (swapped)",
    ];
    inside
        .split(", ")
        .map(|word| word.split('/').next().unwrap_or(word))
        .find(|word| !OTHER_WORDS.contains(word) && !word.ends_with("bpc"))
        .map(str::to_owned)
}

/// The transfer characteristic in `tv, bt2020nc/bt2020/smpte2084`, if it is one of high dynamic range (ITU-R BT.2100).
fn hdr_in(inside: &str) -> Option<String> {
    let transfer = inside.split(", ").find_map(|word| word.split('/').nth(2))?;
    matches!(transfer, "smpte2084" | "arib-std-b67").then(|| transfer.to_owned())
}

/// Splits at commas that are not inside brackets.
fn split_outside_brackets(text: &str) -> Vec<&str> {
    let (mut parts, mut depth, mut start) = (Vec::new(), 0, 0);
    for (place, character) in text.char_indices() {
        match character {
            '(' | '[' => depth += 1,
            ')' | ']' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(text[start..place].trim());
                start = place + 1;
            }
            _ => (),
        }
    }
    parts.push(text[start..].trim());
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(lines: &[&str]) -> Header {
        let mut header = Header::default();
        for line in lines {
            header.read(line);
        }
        header
    }

    #[test]
    fn length_rate_and_colours_of_a_tagged_file() {
        let it = header(&[
            "  Duration: 00:00:07.73, start: 0.000000, bitrate: 4105 kb/s",
            "  Stream #0:0[0x1](und): Video: vp9 (Profile 0) (vp09 / 0x39307076), yuv420p(tv, bt709), 1768x994, 4007 kb/s, 30 fps, 30 tbr, 15360 tbn (default)",
        ]);
        assert_eq!(it.duration, Some(Duration::from_millis(7730)));
        assert_eq!(it.frame_rate, Some(30.0));
        assert_eq!(it.matrix_to_assume(), None);
    }

    #[test]
    fn untagged_high_definition_is_bt709() {
        let stream = "Stream #0:0: Video: h264 (High), yuv420p(tv, progressive), 1280x720 [SAR 1:1 DAR 16:9], 25 fps";
        assert_eq!(header(&[stream]).matrix_to_assume(), Some("bt709"));
        let small = "Stream #0:0: Video: h264 (High), yuv420p(progressive), 640x360, 25 fps";
        assert_eq!(header(&[small]).matrix_to_assume(), None);
        let camera = "Stream #0:0: Video: mjpeg (Baseline), yuvj422p(pc), 1920x1080, 30 fps";
        assert_eq!(header(&[camera]).matrix_to_assume(), None);
    }

    #[test]
    fn high_dynamic_range_is_known_by_its_transfer() {
        let hdr = "Stream #0:0: Video: hevc (Main 10), yuv420p10le(tv, bt2020nc/bt2020/smpte2084), 3840x2160, 25 fps";
        assert_eq!(header(&[hdr]).hdr.as_deref(), Some("smpte2084"));
        let plain = "Stream #0:0: Video: h264, yuv420p(tv, bt709/bt709/iec61966-2-1), 1280x720, 25 fps";
        assert_eq!(header(&[plain]).hdr, None);
    }

    #[test]
    fn cover_pictures_are_not_the_video() {
        let cover = "Stream #0:1: Video: png, rgb24(pc), 300x300, 90k tbr (attached pic)";
        assert_eq!(header(&[cover, "Duration: N/A, bitrate: 1"]), Header::default());
    }

    #[test]
    fn versions_of_releases_and_of_unreleased_states() {
        assert_eq!(version("5.1.9-0+deb12u1 Copyright (c)"), Some((5, 1)));
        assert_eq!(version("n9.0.2-17-g2a571b6068 Copyright"), Some((9, 0)));
        assert_eq!(version("7 Copyright"), Some((7, 0)));
        assert_eq!(version("N-109421-g9adf02247c Copyright"), None);
    }
}
