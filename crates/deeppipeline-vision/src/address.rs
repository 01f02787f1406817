//! The name of an input: how ffmpeg gets it, and how people get to see it.

use std::borrow::Cow;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::Path;

/// Formats whose inputs are devices or descriptions, never files.
const NOT_FILES: [&str; 11] = [
    "v4l2",
    "video4linux2",
    "avfoundation",
    "dshow",
    "vfwcap",
    "x11grab",
    "gdigrab",
    "kmsgrab",
    "fbdev",
    "decklink",
    "lavfi",
];

/// Protocols of ffmpeg that are written without `//`. Any other word before a colon is part of a file's name.
const PROTOCOLS: [&str; 11] =
    ["async", "bluray", "cache", "concat", "concatf", "crypto", "data", "fd", "file", "pipe", "subfile"];

/// The name of an input; shown without passwords and on one line.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Address(OsString);

impl Address {
    pub(crate) fn new(given: &OsStr) -> Self {
        Self(given.to_owned())
    }

    /// `rtsp` for `rtsp://camera/live`; files have none.
    pub(crate) fn scheme(&self) -> Option<&str> {
        self.0.to_str()?.split_once("://").map(|(scheme, _)| scheme).filter(|scheme| is_word(scheme))
    }

    pub(crate) fn starts_with(&self, start: &str) -> bool {
        self.0.as_encoded_bytes().starts_with(start.as_bytes())
    }

    /// Returns true if it names this program's own standard input.
    pub(crate) fn is_standard_input(&self) -> bool {
        const NAMES: [&str; 6] = ["-", "pipe:", "pipe:0", "/dev/stdin", "/dev/fd/0", "/proc/self/fd/0"];
        self.0.to_str().is_some_and(|name| NAMES.contains(&name))
    }

    /// The name as ffmpeg has to get it: it takes everything before a colon for a protocol, also in the name of a file.
    pub(crate) fn argument(&self, format: Option<&str>) -> Cow<'_, OsStr> {
        if self.scheme().is_some() || format.is_some_and(|format| NOT_FILES.contains(&format)) {
            return Cow::Borrowed(&self.0);
        }
        let protocol = self.0.to_str().and_then(|name| name.split_once([':', ','])).map(|(word, _)| word);
        let is_protocol = protocol.is_some_and(|word| PROTOCOLS.contains(&word));
        if is_protocol && !Path::new(&self.0).exists() { Cow::Borrowed(&self.0) } else { Cow::Owned(file(&self.0)) }
    }

    /// A text of ffmpeg's without the passwords of this address, or of any other in it.
    pub(crate) fn masked(&self, text: &str) -> String {
        // First as a whole: what is between quotes in a text may itself contain quotes and spaces.
        let given = self.0.to_string_lossy();
        let text = if given.is_empty() { Cow::Borrowed(text) } else { text.replace(&*given, &mask(&given)).into() };
        let mut shown = String::with_capacity(text.len());
        for part in text.split_inclusive(|c: char| c.is_whitespace() || "'\"<>".contains(c)) {
            shown.push_str(&mask(part));
        }
        shown
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in mask(&self.0.to_string_lossy()).chars() {
            if c.is_control() { write!(f, "{}", c.escape_default())? } else { write!(f, "{c}")? }
        }
        Ok(())
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

/// The name of a file as ffmpeg has to get it.
pub(crate) fn file(path: &OsStr) -> OsString {
    let mut name = OsString::from("file:");
    name.push(path);
    name
}

/// An address without its password: `rtsp://user:***@camera/live`, `http://camera/video?pwd=***`.
///
/// Everything that this crate says about an input is without already; this is for a program that repeats what it was
/// given.
pub fn without_password(address: impl AsRef<OsStr>) -> String {
    Address::new(address.as_ref()).to_string()
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
}

/// One address without its secrets; other texts as they are.
fn mask(address: &str) -> String {
    const HIDDEN: &str = "***";
    let Some((scheme, rest)) = address.split_once("://") else { return address.to_owned() };
    let mut masked = format!("{scheme}://");
    let rest = match end_of_user(rest) {
        Some(at) => {
            // A user without a password is shown.
            match rest[..at].split_once(':') {
                Some((user, _)) => masked.extend([user, ":", HIDDEN]),
                None => masked.push_str(&rest[..at]),
            }
            &rest[at..]
        }
        None => rest,
    };
    let (path, query) = rest.split_at(rest.find('?').unwrap_or(rest.len()));
    masked.push_str(path);
    for part in query.split_inclusive(['?', '&', '#']) {
        let value_end = part.trim_end_matches(['?', '&', '#', '\'', '"', ':', ',', ')', ']', '.', ' ', '\n']).len();
        match part.split_once('=') {
            Some((key, value)) if is_secret(key) && !value.is_empty() => {
                masked.extend([key, "=", HIDDEN, &part[value_end.max(key.len() + 1)..]]);
            }
            _ => masked.push_str(part),
        }
    }
    masked
}

/// The position of the `@` that ends the user and password. A password may hold `@` and, against the rules, `/` and
/// `?`: rather too much is hidden than too little.
fn end_of_user(rest: &str) -> Option<usize> {
    let authority = &rest[..rest.find(['/', '?', '#']).unwrap_or(rest.len())];
    if authority.contains('@') {
        return rest[..rest.find(['?', '#']).unwrap_or(rest.len())].rfind('@');
    }
    let (_, after_colon) = authority.split_once(':')?;
    let is_port = after_colon.bytes().all(|byte| byte.is_ascii_digit());
    if is_port { None } else { rest.rfind('@') }
}

fn is_secret(key: &str) -> bool {
    const SECRETS: [&str; 10] =
        ["password", "passwd", "pwd", "pass", "passphrase", "token", "secret", "key", "auth", "signature"];
    let key = key.to_ascii_lowercase();
    SECRETS.iter().any(|secret| key.ends_with(secret))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(name: &str) -> Address {
        Address::new(OsStr::new(name))
    }

    #[test]
    fn a_password_is_never_shown() {
        for (given, shown) in [
            ("rtsp://user:hunter2@camera:554/live", "rtsp://user:***@camera:554/live"),
            ("rtsp://user:h@nter/2@camera/live", "rtsp://user:***@camera/live"),
            ("rtsp://user@camera/live", "rtsp://user@camera/live"),
            ("http://camera:8080/user@home", "http://camera:8080/user@home"),
            ("http://camera/v?user=me&PWD=hunter2&x=1", "http://camera/v?user=me&PWD=***&x=1"),
            ("srt://camera:1?passphrase=hunter2", "srt://camera:1?passphrase=***"),
            ("clips/park.mp4", "clips/park.mp4"),
            ("new\nline.mp4", "new\\nline.mp4"),
        ] {
            assert_eq!(address(given).to_string(), shown);
            assert_eq!(format!("{:?}", address(given)), format!("\"{shown}\""));
        }
    }

    #[test]
    fn a_text_that_repeats_an_address_is_masked() {
        let camera = address("rtsp://user:it's me@camera/live?token=abc");
        let text = "[tcp] rtsp://user:it's me@camera/live?token=abc: failed; 'http://a:secret@b/c?key=1': no, x@y";
        let masked = "[tcp] rtsp://user:***@camera/live?token=***: failed; 'http://a:***@b/c?key=***': no, x@y";
        assert_eq!(camera.masked(text), masked);
    }

    #[test]
    fn a_file_is_told_from_a_protocol() {
        for (given, argument) in [
            ("a:b.mp4", "file:a:b.mp4"),
            ("-dash.mp4", "file:-dash.mp4"),
            ("file:a:b.mp4", "file:a:b.mp4"),
            ("concat:a.ts|b.ts", "concat:a.ts|b.ts"),
            ("subfile,,start,0,end,9,,:a.ts", "subfile,,start,0,end,9,,:a.ts"),
            ("rtsp://camera/live", "rtsp://camera/live"),
        ] {
            assert_eq!(&*address(given).argument(None), argument);
        }
        assert_eq!(&*address("testsrc=s=64x64").argument(Some("lavfi")), "testsrc=s=64x64");
        assert_eq!(&*address(":0.0").argument(Some("x11grab")), ":0.0");
        assert_eq!(&*address("a:b.h264").argument(Some("h264")), "file:a:b.h264");
    }
}
