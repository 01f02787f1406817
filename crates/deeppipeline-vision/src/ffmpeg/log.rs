//! The stderr of an ffmpeg process, read by a thread of its own so that ffmpeg never waits for a reader.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::header::Header;
use crate::address::Address;

/// The news that other threads wait for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Said {
    /// The input is open, and what its video stream is like is known.
    Opened,
    /// A picture of that size is about to leave ffmpeg; the `showinfo` filter says so.
    Picture {
        /// Columns.
        width: u32,
        /// Rows.
        height: u32,
    },
}

/// The log of one process; clones look at the same log.
#[derive(Clone)]
pub(crate) struct Log {
    /// Its passwords are taken out of everything that is kept.
    address: Option<Address>,
    contents: Arc<Mutex<Contents>>,
}

#[derive(Default)]
struct Contents {
    header: Header,
    header_complete: bool,
    /// The last messages of level error and above, without their prefixes.
    errors: VecDeque<String>,
    /// The sign that the end of the file is missing.
    truncation: Option<String>,
    /// The last sign that a piece is damaged, and the number of pictures before it.
    damage: Option<(String, u64)>,
    pictures: u64,
    /// True if ffmpeg has counted up its output, which it does last, and only if it got there.
    summed_up: bool,
}

impl Log {
    /// The log of a process that works on `address`.
    pub(super) fn new(address: Option<Address>) -> Self {
        Self { address, contents: Arc::default() }
    }

    /// Reads lines until the process closes its stderr, and passes on what others wait for.
    pub(super) fn read_all(&self, stderr: impl Read, say: &Sender<Said>) {
        let mut reader = BufReader::new(stderr);
        let mut line = Vec::new();
        // Bytes, not strings: file names in messages need not be UTF-8.
        while reader.read_until(b'\n', &mut line).is_ok_and(|count| count > 0) {
            let text = String::from_utf8_lossy(&line);
            if let Some(said) = self.take_in(text.trim_end()) {
                // The receiver is gone once the capture is; ffmpeg must still not be held up.
                let _ = say.send(said);
            }
            line.clear();
        }
    }

    /// The properties of the input, as far as ffmpeg has announced them.
    pub(crate) fn header(&self) -> Header {
        self.lock().header.clone()
    }

    /// The message that says best what went wrong.
    pub(crate) fn reason(&self) -> Option<String> {
        let contents = self.lock();
        let specific = contents.errors.iter().rev().find(|error| !is_follow_up(error));
        specific.or(contents.errors.back()).cloned()
    }

    /// Returns true if one of the last messages holds these words.
    pub(crate) fn mentions(&self, words: &str) -> bool {
        self.lock().errors.iter().any(|error| error.contains(words))
    }

    /// Returns true if ffmpeg said that it has written its output to the end.
    pub(crate) fn summed_up(&self) -> bool {
        self.lock().summed_up
    }

    /// The message that says that the end of the input is missing or damaged.
    pub(crate) fn damage_at_end(&self) -> Option<String> {
        // A decoder may still give out what it had read before the damage.
        const PICTURES_IN_FLIGHT: u64 = 10;
        let contents = self.lock();
        let damage = contents.damage.as_ref().filter(|(_, at)| contents.pictures - at <= PICTURES_IN_FLIGHT);
        contents.truncation.clone().or(damage.map(|(message, _)| message.clone()))
    }

    /// The last message that says that something is damaged, wherever it is.
    pub(crate) fn damage(&self) -> Option<String> {
        self.lock().damage.as_ref().map(|(message, _)| message.clone())
    }

    fn lock(&self) -> MutexGuard<'_, Contents> {
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take_in(&self, line: &str) -> Option<Said> {
        if let Some((width, height)) = picture_size(line) {
            self.lock().pictures += 1;
            return Some(Said::Picture { width, height });
        }
        let (level, message) = split_level(line);
        match level {
            "info" => self.lock().take_in_info(message),
            "warning" | "error" | "fatal" | "panic" => {
                let message = match &self.address {
                    Some(address) => address.masked(message),
                    None => message.to_owned(),
                };
                self.lock().take_in_trouble(level, message);
                None
            }
            _ => None,
        }
    }
}

impl Contents {
    fn take_in_info(&mut self, message: &str) -> Option<Said> {
        self.summed_up |= message.contains("muxing overhead");
        self.header_complete |= message.starts_with("Stream mapping");
        if self.header_complete {
            return None;
        }
        self.header.read(message).then_some(Said::Opened)
    }

    fn take_in_trouble(&mut self, level: &str, message: String) {
        const MESSAGES_KEPT: usize = 20;
        if is_truncation(&message) {
            self.truncation = Some(message.clone());
        } else if is_damage(&message) {
            self.damage = Some((message.clone(), self.pictures));
        }
        if level != "warning" {
            if self.errors.len() == MESSAGES_KEPT {
                self.errors.pop_front();
            }
            self.errors.push_back(message);
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

fn is_truncation(message: &str) -> bool {
    ["partial file", "ended prematurely", "ends prematurely"].iter().any(|sign| message.contains(sign))
}

fn is_damage(message: &str) -> bool {
    ["orrupt", "rror while decoding", "Decoding error"].iter().any(|sign| message.contains(sign))
}

/// Returns true if a message only repeats that something failed.
fn is_follow_up(message: &str) -> bool {
    const STARTS: [&str; 19] = [
        "Cannot determine format of input stream",
        "Conversion failed",
        "Error marking filters as finished",
        "Error opening input file",
        "Error opening output",
        "Error parsing options for",
        "Error initializing",
        "Error processing packet",
        "Error while processing",
        "Error while decoding stream",
        "Error while opening encoder",
        "Error submitting",
        "Error muxing",
        "Task finished with error",
        "Terminating thread",
        "Nothing was written",
        "Error sending frames",
        "Failed to read frame size",
        // A decoder, after it has said what is the matter.
        "no frame!",
    ];
    STARTS.iter().any(|start| message.starts_with(start))
        || ["_header error", "Decode error rate"].iter().any(|words| message.contains(words))
}

/// Reads the size in `[Parsed_showinfo_3 @ 0x55] [info] n:   1 pts:    512 … s:1768x994 …`.
fn picture_size(line: &str) -> Option<(u32, u32)> {
    let (_, message) = line.strip_prefix("[Parsed_showinfo_")?.split_once("] [info] n:")?;
    let size = message.split_once(" s:")?.1.split_whitespace().next()?;
    let (width, height) = size.split_once('x')?;
    Some((width.parse().ok()?, height.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsStr;
    use std::sync::mpsc::channel;

    fn log_of(text: &str) -> (Log, Vec<Said>) {
        let log = Log::new(Some(Address::new(OsStr::new("rtsp://user:hunter2@camera/live"))));
        let (sender, receiver) = channel();
        log.read_all(text.as_bytes(), &sender);
        drop(sender);
        (log, receiver.iter().collect())
    }

    const PICTURE: &str =
        "[Parsed_showinfo_2 @ 0x55] [info] n:   1 pts:    512 pts_time:0.25 pos: 3 fmt:rgb24 sar:0/1 s:64x48 i:P\n";

    #[test]
    fn the_input_and_the_size_of_each_picture_are_passed_on() {
        let colours = "[Parsed_showinfo_2 @ 0x55] [info] color_range:pc color_space:gbr s:1x1\n";
        let opened = "[info]   Stream #0:0: Video: h264, yuv420p, 64x48, 25 fps\n[info] Stream mapping:\n";
        let title = "[info]     title           : Parsed_showinfo_2 @ 0x55] [info] n: 1 s:9x9\n";
        let (_, said) = log_of(&format!("{title}{opened}{colours}{PICTURE}"));
        assert_eq!(said, [Said::Opened, Said::Picture { width: 64, height: 48 }]);
    }

    #[test]
    fn the_specific_message_wins() {
        for (text, reason) in [
            (
                "[in#0 @ 0x1] [error] moov atom not found\n[error] Error opening input file x.mp4.\n",
                "moov atom not found",
            ),
            (
                "[h264 @ 0x1] [error] non-existing PPS 0 referenced\n[h264 @ 0x1] [error] decode_slice_header error\n\
                 [h264 @ 0x1] [error] no frame!\n[error] Error while decoding stream #0:0: Invalid data\n\
                 [error] Cannot determine format of input stream 0:0 after EOF\n\
                 [fatal] Error marking filters as finished\n",
                "non-existing PPS 0 referenced",
            ),
        ] {
            assert_eq!(log_of(text).0.reason().as_deref(), Some(reason));
        }
    }

    #[test]
    fn a_password_is_not_kept() {
        let (log, _) = log_of("[error] rtsp://user:hunter2@camera/live: Connection refused\n");
        assert_eq!(log.reason().as_deref(), Some("rtsp://user:***@camera/live: Connection refused"));
    }

    #[test]
    fn damage_that_many_pictures_follow_is_not_at_the_end() {
        let damage = "[h264 @ 0x1] [error] error while decoding MB 1 2\n";
        assert!(log_of(damage).0.damage_at_end().is_some());
        let (log, _) = log_of(&format!("{damage}{}", PICTURE.repeat(24)));
        assert_eq!(log.damage_at_end(), None);
        assert!(log.damage().is_some());
    }

    #[test]
    fn what_is_missing_is_missing_at_the_end() {
        let (log, _) = log_of(&format!("[mov @ 0x1] [error] stream 0: partial file\n{}", PICTURE.repeat(24)));
        assert!(log.damage_at_end().is_some());
    }
}
