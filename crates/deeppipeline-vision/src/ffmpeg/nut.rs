//! Reading NUT, the container in which ffmpeg hands over pictures: each comes with its length and its exact time.
//!
//! <https://ffmpeg.org/nut.html> (Michael Niedermayer and others), as far as a file of one stream without elision
//! headers needs it. In a plain raw stream one wrong length would shift every later picture; here each is framed by
//! itself.

use std::io::{BufReader, Error, ErrorKind, Read, Result};
use std::time::Duration;

const FILE_ID: &[u8; 25] = b"nut/multimedia container\0";
/// The first byte of everything that is no picture.
const PACKET: u8 = b'N';
const MAIN_HEADER: [u8; 7] = [0x4D, 0x7A, 0x56, 0x1F, 0x5F, 0x04, 0xAD];
const STREAM_HEADER: [u8; 7] = [0x53, 0x11, 0x40, 0x5B, 0xF2, 0xF9, 0xDB];
const SYNCPOINT: [u8; 7] = [0x4B, 0xE4, 0xAD, 0xEE, 0xCA, 0x45, 0x69];

/// The flags of a frame; the others say nothing about how it is to be read.
mod flag {
    pub(super) const CODED_TIME: u64 = 1 << 3;
    pub(super) const STREAM: u64 = 1 << 4;
    pub(super) const SIZE: u64 = 1 << 5;
    pub(super) const CHECKSUM: u64 = 1 << 6;
    pub(super) const RESERVED: u64 = 1 << 7;
    pub(super) const SIDE_DATA: u64 = 1 << 8;
    pub(super) const ELISION: u64 = 1 << 10;
    pub(super) const MATCH_TIME: u64 = 1 << 11;
    pub(super) const CODED: u64 = 1 << 12;
    pub(super) const INVALID: u64 = 1 << 13;
}

/// The meaning of one byte in front of a frame.
#[derive(Clone, Copy, Default)]
struct FrameCode {
    flags: u64,
    time_step: i64,
    size_factor: u64,
    size_rest: u64,
    reserved: u64,
}

/// The header in front of the bytes of a picture.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct PictureHeader {
    pub(crate) time: Duration,
    pub(crate) bytes: usize,
}

/// A stream of pictures.
pub(crate) struct NutReader<R> {
    input: BufReader<R>,
    started: bool,
    codes: Vec<FrameCode>,
    /// Numerator and denominator, in seconds.
    time_bases: Vec<(u64, u64)>,
    /// The index of the time base that the pictures' times are in.
    time_base: usize,
    /// The number of bits of a time that are written where the rest is that of the picture before.
    low_bits: u32,
    last_time: i64,
}

impl<R: Read> NutReader<R> {
    pub(crate) fn new(input: R) -> Self {
        let (codes, time_bases) = (Vec::new(), Vec::new());
        let input = BufReader::new(input);
        Self { input, started: false, codes, time_bases, time_base: 0, low_bits: 0, last_time: 0 }
    }

    /// The next picture, whose bytes follow; `None` at the end.
    pub(crate) fn next_picture(&mut self) -> Result<Option<PictureHeader>> {
        if !self.started {
            let mut id = [0; FILE_ID.len()];
            match self.input.read_exact(&mut id) {
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(None),
                result => result?,
            }
            if id != *FILE_ID {
                return Err(broken("it does not begin as NUT"));
            }
            self.started = true;
        }
        loop {
            let mut first = [0];
            if self.input.read(&mut first)? == 0 {
                return Ok(None);
            }
            match first {
                [PACKET] => self.packet()?,
                [code] => return self.frame(code).map(Some),
            }
        }
    }

    /// Reads the bytes of a picture.
    pub(crate) fn read_picture(&mut self, bytes: usize) -> Result<Vec<u8>> {
        let mut pixels = Vec::with_capacity(bytes);
        let read = (&mut self.input).take(bytes as u64).read_to_end(&mut pixels)?;
        if read == bytes { Ok(pixels) } else { Err(ErrorKind::UnexpectedEof.into()) }
    }

    /// A header or a point to start reading from.
    fn packet(&mut self) -> Result<()> {
        const LONGEST: u64 = 1 << 20;
        const WITH_CHECKSUM: u64 = 4096;
        let mut name = [0; 7];
        self.input.read_exact(&mut name)?;
        let length = self.number()?;
        if length > LONGEST {
            return Err(broken("a header is too long"));
        }
        if length > WITH_CHECKSUM {
            self.skip(4)?;
        }
        let mut contents = vec![0; length as usize];
        self.input.read_exact(&mut contents)?;
        let contents = &mut &contents[..];
        match name {
            // They are repeated now and then, for those who begin to read later.
            MAIN_HEADER if self.codes.is_empty() => self.main_header(contents),
            STREAM_HEADER => self.stream_header(contents),
            SYNCPOINT => self.syncpoint(contents),
            _ => Ok(()),
        }
    }

    fn main_header(&mut self, contents: &mut &[u8]) -> Result<()> {
        let version = number(contents)?;
        let streams = number(contents)?;
        if version != 3 || streams != 1 {
            return Err(broken(&format!("version {version} with {streams} streams")));
        }
        let _max_distance = number(contents)?;
        for _ in 0..number(contents)? {
            let base = (number(contents)?, number(contents)?);
            if base.1 == 0 {
                return Err(broken("a time base of nothing"));
            }
            self.time_bases.push(base);
        }

        // 256 meanings in runs: each field stays as it was until it is given anew.
        let (mut time_step, mut size_factor) = (0, 1);
        while self.codes.len() < 256 {
            let flags = number(contents)?;
            let fields = number(contents)?;
            let mut field = |place: u64, default: u64| if fields > place { number(contents) } else { Ok(default) };
            if fields > 0 {
                time_step = signed(field(0, 0)?);
            }
            size_factor = field(1, size_factor)?;
            field(2, 0)?;
            let size_rest = field(3, 0)?;
            let reserved = field(4, 0)?;
            let count = field(5, size_factor.saturating_sub(size_rest))?;
            for place in 6..fields {
                field(place, 0)?;
            }
            for step in 0..count.min(256) {
                if self.codes.len() == usize::from(PACKET) {
                    self.codes.push(FrameCode { flags: flag::INVALID, ..FrameCode::default() });
                }
                self.codes.push(FrameCode { flags, time_step, size_factor, size_rest: size_rest + step, reserved });
            }
        }
        Ok(())
    }

    fn stream_header(&mut self, contents: &mut &[u8]) -> Result<()> {
        let _stream = number(contents)?;
        let _class = number(contents)?;
        let codec = number(contents)? as usize;
        *contents = contents.get(codec..).ok_or_else(|| broken("a codec without end"))?;
        self.time_base = number(contents)? as usize;
        self.low_bits = number(contents)?.min(62) as u32;
        self.base().map(|_| ())
    }

    /// Times begin anew here.
    fn syncpoint(&mut self, contents: &mut &[u8]) -> Result<()> {
        let coded = number(contents)?;
        let count = self.time_bases.len().max(1) as u64;
        let (from, to) = (self.time_bases.get((coded % count) as usize).copied(), self.base()?);
        let from = from.ok_or_else(|| broken("no time base"))?;
        let time = u128::from(coded / count) * u128::from(from.0) * u128::from(to.1)
            / (u128::from(from.1) * u128::from(to.0).max(1));
        self.last_time = i64::try_from(time).map_err(|_| broken("a time without end"))?;
        Ok(())
    }

    fn frame(&mut self, code: u8) -> Result<PictureHeader> {
        let code = self.codes.get(usize::from(code)).copied().ok_or_else(|| broken("no header"))?;
        let mut flags = code.flags;
        if flags & flag::CODED != 0 {
            flags ^= self.number()?;
        }
        if flags & (flag::INVALID | flag::SIDE_DATA | flag::ELISION) != 0 {
            return Err(broken("a frame of an unknown kind"));
        }
        if flags & flag::STREAM != 0 {
            self.number()?;
        }
        self.last_time = if flags & flag::CODED_TIME == 0 {
            self.last_time.saturating_add(code.time_step)
        } else {
            let coded = self.number()?;
            self.full_time(coded)
        };
        let factor = if flags & flag::SIZE == 0 { 0 } else { self.number()? };
        let bytes = code.size_factor.checked_mul(factor).and_then(|size| size.checked_add(code.size_rest));
        if flags & flag::MATCH_TIME != 0 {
            self.number()?;
        }
        let reserved = if flags & flag::RESERVED == 0 { code.reserved } else { self.number()? };
        for _ in 0..reserved {
            self.number()?;
        }
        if flags & flag::CHECKSUM != 0 {
            self.skip(4)?;
        }
        let bytes = bytes.and_then(|bytes| bytes.try_into().ok()).ok_or_else(|| broken("a frame without end"))?;
        Ok(PictureHeader { time: self.time()?, bytes })
    }

    /// A time of which only the low bits may be written: the nearest to the one before that has them.
    fn full_time(&self, coded: u64) -> i64 {
        let span = 1_i64 << self.low_bits;
        let coded = i64::try_from(coded).unwrap_or(i64::MAX);
        if coded >= span {
            return coded - span;
        }
        let lowest = self.last_time.saturating_sub((span - 1) / 2);
        (coded.wrapping_sub(lowest) & (span - 1)).saturating_add(lowest)
    }

    fn time(&self) -> Result<Duration> {
        let (numerator, denominator) = self.base()?;
        let ticks = u128::try_from(self.last_time).unwrap_or(0);
        let nanoseconds = ticks * u128::from(numerator) * 1_000_000_000 / u128::from(denominator);
        let nanoseconds = u64::try_from(nanoseconds).map_err(|_| broken("a time without end"))?;
        Ok(Duration::from_nanos(nanoseconds))
    }

    fn base(&self) -> Result<(u64, u64)> {
        self.time_bases.get(self.time_base).copied().ok_or_else(|| broken("no time base"))
    }

    fn number(&mut self) -> Result<u64> {
        number(&mut self.input)
    }

    fn skip(&mut self, bytes: u64) -> Result<()> {
        std::io::copy(&mut (&mut self.input).take(bytes), &mut std::io::sink()).map(|_| ())
    }
}

/// Seven bits in each byte, the highest first; the eighth says that another byte follows.
fn number(input: &mut impl Read) -> Result<u64> {
    let mut value = 0_u64;
    loop {
        let mut byte = [0];
        input.read_exact(&mut byte)?;
        if value >> 57 != 0 {
            return Err(broken("a number without end"));
        }
        value = value << 7 | u64::from(byte[0] & 0x7F);
        if byte[0] & 0x80 == 0 {
            return Ok(value);
        }
    }
}

/// 0, 1, -1, 2, -2 and so on.
fn signed(value: u64) -> i64 {
    let half = (value.wrapping_add(1) >> 1) as i64;
    if value & 1 == 1 { half } else { -half }
}

fn broken(what: &str) -> Error {
    Error::new(ErrorKind::InvalidData, format!("ffmpeg's pictures cannot be read: {what}"))
}
