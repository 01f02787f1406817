//! What an ffmpeg process writes to its stderr, read by a thread of its own so that ffmpeg never waits for a reader.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::header::Header;

/// What the `showinfo` filter says about one picture before it leaves ffmpeg.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct FrameInfo {
    /// The presentation time; `None` where the stream has none.
    pub(crate) time: Option<Duration>,
    pub(crate) width: u32,
    pub(crate) height: u32,
}

/// The log of one process; clones look at the same log.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Contents>>);

#[derive(Default)]
struct Contents {
    header: Header,
    header_complete: bool,
    /// The last messages of level error and above, without their prefixes.
    errors: VecDeque<String>,
    /// The last sign that a piece is missing or damaged, and the number of pictures before it.
    damage: Option<(String, u64)>,
    pictures: u64,
}

impl Log {
    /// Reads lines until the process closes its stderr; what `showinfo` says goes to `pictures`.
    pub(super) fn read_all(&self, stderr: impl Read, pictures: &Sender<FrameInfo>) {
        let mut reader = BufReader::new(stderr);
        let mut line = Vec::new();
        // Bytes, not strings: file names in messages need not be UTF-8.
        while reader.read_until(b'\n', &mut line).is_ok_and(|count| count > 0) {
            let text = String::from_utf8_lossy(&line);
            if let Some(info) = frame_info(&text) {
                self.lock().pictures += 1;
                // The receiver is gone once the capture is; ffmpeg must still not be held up.
                let _ = pictures.send(info);
            } else {
                self.lock().take_in(text.trim_end());
            }
            line.clear();
        }
    }

    /// What was said about the input.
    pub(crate) fn header(&self) -> Header {
        self.lock().header.clone()
    }

    /// The message that says best what went wrong.
    pub(crate) fn reason(&self) -> Option<String> {
        let contents = self.lock();
        let specific = contents.errors.iter().rev().find(|error| !is_follow_up(error));
        specific.or(contents.errors.back()).cloned()
    }

    /// Whether one of the last messages holds these words.
    pub(crate) fn mentions(&self, words: &str) -> bool {
        self.lock().errors.iter().any(|error| error.contains(words))
    }

    /// The message that says that the end of the input is missing or damaged; damage that pictures followed is not it.
    pub(crate) fn damage_at_end(&self) -> Option<String> {
        // A decoder on many threads may still give out what it read before the damage.
        const PICTURES_IN_FLIGHT: u64 = 40;
        let contents = self.lock();
        let (message, at) = contents.damage.as_ref()?;
        (contents.pictures - at <= PICTURES_IN_FLIGHT).then(|| message.clone())
    }

    fn lock(&self) -> MutexGuard<'_, Contents> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Contents {
    fn take_in(&mut self, line: &str) {
        const MESSAGES_KEPT: usize = 20;
        let (level, message) = split_level(line);
        match level {
            "info" if !self.header_complete => {
                self.header_complete = message.starts_with("Stream mapping");
                if !self.header_complete {
                    self.header.read(message);
                }
            }
            "warning" | "error" | "fatal" | "panic" => {
                if is_damage(message) {
                    self.damage = Some((message.to_owned(), self.pictures));
                }
                if level != "warning" {
                    if self.errors.len() == MESSAGES_KEPT {
                        self.errors.pop_front();
                    }
                    self.errors.push_back(message.to_owned());
                }
            }
            _ => (),
        }
    }
}

/// Splits `[h264 @ 0x55] [error] text` into `error` and `text`.
fn split_level(line: &str) -> (&str, &str) {
    let mut rest = line;
    while let Some((tag, after)) = rest.strip_prefix('[').and_then(|rest| rest.split_once("] ")) {
        if matches!(tag, "panic" | "fatal" | "error" | "warning" | "info" | "verbose" | "debug") {
            return (tag, after);
        }
        rest = after;
    }
    ("", line)
}

fn is_damage(message: &str) -> bool {
    ["partial file", "ended prematurely", "orrupt", "rror while decoding", "Decoding error"]
        .iter()
        .any(|sign| message.contains(sign))
}

/// Whether a message only repeats that something failed.
fn is_follow_up(message: &str) -> bool {
    const STARTS: [&str; 14] = [
        "Conversion failed",
        "Error opening input file",
        "Error opening output",
        "Error parsing options for",
        "Error initializing",
        "Error while processing",
        "Error while opening encoder",
        "Error submitting",
        "Error muxing",
        "Task finished with error",
        "Terminating thread",
        "Nothing was written",
        "Error sending frames",
        "Failed to read frame size",
    ];
    STARTS.iter().any(|start| message.starts_with(start))
}

/// Reads `… n:   1 pts:    512 pts_time:0.0333333 … s:1768x994 …`.
fn frame_info(line: &str) -> Option<FrameInfo> {
    if !line.contains("Parsed_showinfo") {
        return None;
    }
    let value = |key: &str| Some(line.split_once(key)?.1.split_whitespace().next().unwrap_or(""));
    let (width, height) = value(" s:")?.split_once('x')?;
    // A picture from before the start (a cut by an edit list) is shown at once.
    let time = value(" pts_time:")?.parse::<f64>().ok().map(|seconds| seconds.max(0.0));
    Some(FrameInfo {
        time: time.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()),
        width: width.parse().ok()?,
        height: height.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_and_size_of_a_picture() {
        let line =
            "[Parsed_showinfo_2 @ 0x55] [info] n:   1 pts:    512 pts_time:0.25 pos: 3 fmt:rgb24 sar:0/1 s:64x48 i:P";
        let info = frame_info(line);
        assert_eq!(info, Some(FrameInfo { time: Some(Duration::from_millis(250)), width: 64, height: 48 }));
        assert_eq!(frame_info("[Parsed_showinfo_2 @ 0x55] [info] color_range:pc color_space:gbr"), None);
    }

    #[test]
    fn the_specific_message_wins() {
        let log = Log::default();
        let text = "[in#0 @ 0x1] [error] moov atom not found\n[error] Error opening input file x.mp4.\n";
        log.read_all(text.as_bytes(), &std::sync::mpsc::channel().0);
        assert_eq!(log.reason().as_deref(), Some("moov atom not found"));
    }

    #[test]
    fn damage_that_many_pictures_follow_is_not_the_end() {
        let log = Log::default();
        let (sender, _receiver) = std::sync::mpsc::channel();
        log.read_all(&b"[h264 @ 0x1] [error] error while decoding MB 1 2\n"[..], &sender);
        assert!(log.damage_at_end().is_some());
        let picture = "[Parsed_showinfo_2 @ 0x55] [info] n: 1 pts: 512 pts_time:0.25 s:64x48 \n";
        log.read_all(picture.repeat(100).as_bytes(), &sender);
        assert_eq!(log.damage_at_end(), None);
    }
}
