//! The stderr of workers: cut into pieces as it comes, and put together again into one stream.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// The number of lines of a worker's stderr that are kept for the error that tells of its death.
const LINES_KEPT: usize = 20;
/// A line longer than that is cut, so that a worker cannot fill the memory.
const LINE_LENGTH: usize = 64 << 10;
/// The time after which a line is shown that has no end yet: a progress bar, or dots one by one.
const SHOWN_AFTER: Duration = Duration::from_millis(100);

/// A line that a worker wrote to stderr, or a part of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// The text, without the line's end.
    pub text: String,
    /// True if it takes the place of what its line has shown before, as in a progress bar.
    pub redraws: bool,
    /// True if its line ends with it.
    pub ends: bool,
}

/// The stderr of one worker.
#[derive(Debug, Default)]
pub(super) struct Stderr {
    /// The present line, and how much of it has been handed out.
    line: Vec<u8>,
    shown: usize,
    /// True if the line had shown something else before, which a carriage return took back.
    redraws: bool,
    /// True after a carriage return, when it is not known yet whether the line ends or is drawn again.
    returned: bool,
    /// The time when the first byte came that has not been handed out.
    waiting_since: Option<Instant>,
    pub(super) last_lines: VecDeque<String>,
}

impl Stderr {
    /// Takes in some bytes, and hands out the lines that end in them.
    pub(super) fn read(&mut self, bytes: &[u8], now: Instant) -> Vec<Written> {
        let written = bytes.iter().filter_map(|byte| self.read_byte(*byte)).collect();
        self.waiting_since = if self.shown < self.line.len() { self.waiting_since.or(Some(now)) } else { None };
        written
    }

    fn read_byte(&mut self, byte: u8) -> Option<Written> {
        if byte == b'\n' {
            return Some(self.end_line());
        }
        if byte == b'\r' {
            self.returned = true;
            return None;
        }
        if std::mem::take(&mut self.returned) {
            // Text that was not shown in time would not have been seen.
            self.redraws |= self.shown > 0;
            self.line.clear();
            self.shown = 0;
        }
        self.line.push(byte);
        (self.line.len() >= LINE_LENGTH).then(|| self.end_line())
    }

    /// Returns the time when the present line is to be shown although it has no end.
    pub(super) fn due(&self) -> Option<Instant> {
        Some(self.waiting_since? + SHOWN_AFTER)
    }

    /// Returns as much of the present line as is due, without the beginning of a character.
    pub(super) fn show(&mut self, now: Instant) -> Option<Written> {
        self.due().filter(|due| *due <= now)?;
        self.waiting_since = None;
        let new = &self.line[self.shown..];
        let whole = match std::str::from_utf8(new) {
            Err(error) if error.error_len().is_none() => error.valid_up_to(),
            _ => new.len(),
        };
        let text = String::from_utf8_lossy(&new[..whole]).into_owned();
        self.shown += whole;
        (whole > 0).then(|| Written { text, redraws: std::mem::take(&mut self.redraws), ends: false })
    }

    /// Ends the last line, since the worker has ended.
    pub(super) fn end(&mut self) -> Option<Written> {
        let is_open = !self.line.is_empty() || self.redraws;
        is_open.then(|| self.end_line())
    }

    fn end_line(&mut self) -> Written {
        let text = String::from_utf8_lossy(&self.line[self.shown..]).into_owned();
        if self.last_lines.len() == LINES_KEPT {
            self.last_lines.pop_front();
        }
        self.last_lines.push_back(String::from_utf8_lossy(&self.line).into_owned());
        let redraws = std::mem::take(&mut self.redraws);
        let last_lines = std::mem::take(&mut self.last_lines);
        *self = Stderr { last_lines, ..Stderr::default() };
        Written { text, redraws, ends: true }
    }
}

/// One stream for what many workers write: each line begins with the name of its stage, and a line that has no end yet
/// is ended before another worker's.
#[derive(Debug, Default)]
pub struct Console {
    /// The worker whose line has no end yet.
    open: Option<u32>,
}

impl Console {
    /// A stream that has not been written into.
    pub const fn new() -> Self {
        Console { open: None }
    }

    /// Returns the text for the stream when that process of that stage has written this.
    pub fn shows(&mut self, pid: u32, stage: &str, written: &Written) -> String {
        let goes_on = self.open == Some(pid);
        let before = match self.open {
            Some(_) if !goes_on => "\n",
            Some(_) if written.redraws => "\r",
            _ => "",
        };
        let name = if goes_on && !written.redraws { String::new() } else { format!("[{stage}] ") };
        self.open = (!written.ends).then_some(pid);
        format!("{before}{name}{}{}", written.text, if written.ends { "\n" } else { "" })
    }
}

#[cfg(test)]
mod tests {
    use super::{Console, SHOWN_AFTER, Stderr, Written};
    use std::time::Instant;

    fn written(text: &str, redraws: bool, ends: bool) -> Written {
        Written { text: text.to_owned(), redraws, ends }
    }

    /// Returns what there is to show, line by line, when each of these is shown as soon as it is due.
    fn shown(stderr: &mut Stderr, bytes: &[u8]) -> Vec<Written> {
        let now = Instant::now();
        let mut shown = stderr.read(bytes, now);
        shown.extend(stderr.show(now + SHOWN_AFTER));
        shown
    }

    #[test]
    fn a_line_without_an_end_is_shown_when_it_is_due_and_not_twice() {
        let (mut stderr, now) = (Stderr::default(), Instant::now());
        assert_eq!(stderr.read(b"half", now), []);
        assert_eq!((stderr.due(), stderr.show(now)), (Some(now + SHOWN_AFTER), None));
        assert_eq!(stderr.show(now + SHOWN_AFTER), Some(written("half", false, false)));
        assert_eq!((stderr.due(), stderr.show(now + SHOWN_AFTER)), (None, None));
        assert_eq!(stderr.read(b" a line\n", now), [written(" a line", false, true)]);
        assert_eq!(stderr.last_lines, ["half a line"]);
        assert_eq!(stderr.end(), None);
    }

    #[test]
    fn a_progress_bar_is_drawn_again_with_what_it_shows_last() {
        let mut stderr = Stderr::default();
        assert_eq!(shown(&mut stderr, b"\r 10%"), [written(" 10%", false, false)]);
        assert_eq!(shown(&mut stderr, b"\r 20%\r 30%"), [written(" 30%", true, false)]);
        assert_eq!(shown(&mut stderr, b"\r100%\n"), [written("100%", true, true)]);
        assert_eq!(stderr.last_lines, ["100%"]);
        let mut stderr = Stderr::default();
        assert_eq!(shown(&mut stderr, b"10%\r"), [written("10%", false, false)]);
        assert_eq!(shown(&mut stderr, b"20%\r"), [written("20%", true, false)]);
        assert_eq!(stderr.end(), Some(written("", false, true)));
    }

    #[test]
    fn carriage_returns_before_a_lines_end_belong_to_it() {
        let mut stderr = Stderr::default();
        let lines = [written("one", false, true), written("two", false, true)];
        assert_eq!(shown(&mut stderr, b"one\r\ntwo\r\r\n"), [lines[0].clone(), lines[1].clone()]);
    }

    #[test]
    fn a_character_is_shown_as_a_whole() {
        let mut stderr = Stderr::default();
        let bytes = "日本".as_bytes();
        assert_eq!(shown(&mut stderr, &bytes[..4]), [written("日", false, false)]);
        assert_eq!(shown(&mut stderr, &bytes[4..]), [written("本", false, false)]);
        assert_eq!(shown(&mut stderr, b"\xff\n"), [written("\u{fffd}", false, true)]);
    }

    #[test]
    fn the_lines_of_several_workers_do_not_mix() {
        let mut console = Console::default();
        let mut shows = |pid, text, redraws, ends| console.shows(pid, "s", &written(text, redraws, ends));
        assert_eq!(shows(1, "one", false, true), "[s] one\n");
        assert_eq!(shows(1, " 10%", false, false), "[s]  10%");
        assert_eq!(shows(1, " 20%", true, false), "\r[s]  20%");
        assert_eq!(shows(2, "two", false, true), "\n[s] two\n");
        assert_eq!(shows(1, " 30%", true, false), "[s]  30%");
        assert_eq!(shows(1, "...", false, true), "...\n");
    }
}
