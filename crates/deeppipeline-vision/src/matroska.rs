//! Raw pictures with their times, as a stream that ffmpeg can read from a pipe.
//!
//! A plain raw pipe carries no times, so pictures would come out at a constant rate even where the camera's was not, or
//! where a pipeline dropped some. Matroska (RFC 9559) is the simplest container that ffmpeg reads without seeking; only
//! the few elements that it needs are written: one uncompressed RGB track and a cluster for each picture.

use std::time::Duration;

const EBML: u32 = 0x1A45_DFA3;
const DOC_TYPE: u32 = 0x4282;
const SEGMENT: u32 = 0x1853_8067;
const INFO: u32 = 0x1549_A966;
const TIMESTAMP_SCALE: u32 = 0x2A_D7B1;
const TRACKS: u32 = 0x1654_AE6B;
const TRACK_ENTRY: u32 = 0xAE;
const TRACK_NUMBER: u32 = 0xD7;
const TRACK_UID: u32 = 0x73C5;
const TRACK_TYPE: u32 = 0x83;
const CODEC_ID: u32 = 0x86;
const DEFAULT_DURATION: u32 = 0x23_E383;
const VIDEO: u32 = 0xE0;
const PIXEL_WIDTH: u32 = 0xB0;
const PIXEL_HEIGHT: u32 = 0xBA;
const COLOUR_SPACE: u32 = 0x2E_B524;
const CLUSTER: u32 = 0x1F43_B675;
const TIMESTAMP: u32 = 0xE7;
const SIMPLE_BLOCK: u32 = 0xA3;

/// A size that says: until the stream ends.
const UNKNOWN_SIZE: [u8; 8] = [0x01, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF];
const VIDEO_TRACK: u64 = 1;
const NANOSECONDS_PER_TICK: u64 = 1000;

/// The bytes in front of the first picture; `frame_time` is the time for which a picture is usually shown.
pub(crate) fn header(width: u32, height: u32, frame_time: Duration) -> Vec<u8> {
    let mut video = Vec::new();
    number(&mut video, PIXEL_WIDTH, u64::from(width));
    number(&mut video, PIXEL_HEIGHT, u64::from(height));
    element(&mut video, COLOUR_SPACE, b"RGB\x18");
    let mut track = Vec::new();
    number(&mut track, TRACK_NUMBER, VIDEO_TRACK);
    number(&mut track, TRACK_UID, VIDEO_TRACK);
    number(&mut track, TRACK_TYPE, 1);
    number(&mut track, DEFAULT_DURATION, frame_time.as_nanos() as u64);
    element(&mut track, CODEC_ID, b"V_UNCOMPRESSED");
    element(&mut track, VIDEO, &video);
    let mut tracks = Vec::new();
    element(&mut tracks, TRACK_ENTRY, &track);
    let mut info = Vec::new();
    number(&mut info, TIMESTAMP_SCALE, NANOSECONDS_PER_TICK);
    let mut doc_type = Vec::new();
    element(&mut doc_type, DOC_TYPE, b"matroska");

    let mut stream = Vec::new();
    element(&mut stream, EBML, &doc_type);
    id(&mut stream, SEGMENT);
    stream.extend(UNKNOWN_SIZE);
    element(&mut stream, INFO, &info);
    element(&mut stream, TRACKS, &tracks);
    stream
}

/// The header in front of the `bytes` bytes of a picture shown at `time`.
pub(crate) fn picture_header(time: Duration, bytes: usize) -> Vec<u8> {
    const KEY_FRAME: u8 = 0x80;
    let mut timestamp = Vec::new();
    number(&mut timestamp, TIMESTAMP, time.as_nanos() as u64 / NANOSECONDS_PER_TICK);
    // Track 1, no time beyond the cluster's.
    let block = [0x80 | VIDEO_TRACK as u8, 0, 0, KEY_FRAME];
    let block_size = (block.len() + bytes) as u64;
    let mut block_start = Vec::new();
    id(&mut block_start, SIMPLE_BLOCK);
    size(&mut block_start, block_size);
    block_start.extend(block);

    let mut stream = Vec::new();
    id(&mut stream, CLUSTER);
    size(&mut stream, (timestamp.len() + block_start.len() + bytes) as u64);
    stream.extend(timestamp);
    stream.extend(block_start);
    stream
}

fn element(out: &mut Vec<u8>, name: u32, contents: &[u8]) {
    id(out, name);
    size(out, contents.len() as u64);
    out.extend(contents);
}

fn number(out: &mut Vec<u8>, name: u32, value: u64) {
    element(out, name, &value.to_be_bytes());
}

/// Names carry their own length in their first byte: leading zero bytes are left out.
fn id(out: &mut Vec<u8>, name: u32) {
    out.extend(name.to_be_bytes().into_iter().skip_while(|&byte| byte == 0));
}

/// Sizes always in eight bytes, the first of which says so.
fn size(out: &mut Vec<u8>, value: u64) {
    out.extend((value | 0x01 << 56).to_be_bytes());
}
