//! Colours come out as the stream's own tags say, by the formulas of the standards.

mod support;

use std::path::Path;

use deeppipeline::{Give, Source, Stage};
use deeppipeline_vision::{Capture, Frame, Scene, WriteVideo};
use support::{ffmpeg, picture};
use tempfile::TempDir;

/// Luma weights of red and blue: ITU-R BT.601 and BT.709.
const BT601: (f64, f64) = (0.299, 0.114);
const BT709: (f64, f64) = (0.2126, 0.0722);

/// Red, green, blue of one Y'CbCr colour in bytes.
fn rgb(yuv: [u8; 3], (red, blue): (f64, f64), full_range: bool) -> [f64; 3] {
    let [y, cb, cr] = yuv.map(f64::from);
    let (y, cb, cr) = if full_range {
        (y / 255.0, (cb - 128.0) / 255.0, (cr - 128.0) / 255.0)
    } else {
        ((y - 16.0) / 219.0, (cb - 128.0) / 224.0, (cr - 128.0) / 224.0)
    };
    let r = y + 2.0 * (1.0 - red) * cr;
    let b = y + 2.0 * (1.0 - blue) * cb;
    let g = (y - red * r - blue * b) / (1.0 - red - blue);
    [r, g, b].map(|value| (value * 255.0).clamp(0.0, 255.0))
}

/// A clip of one colour, stored as these very bytes.
fn flat(folder: &TempDir, yuv: [u8; 3], size: (usize, usize), tags: &str) -> Frame {
    let (width, height) = size;
    let raw = folder.path().join("raw.yuv");
    let mut bytes = vec![yuv[0]; width * height];
    bytes.extend(vec![yuv[1]; width * height / 4]);
    bytes.extend(vec![yuv[2]; width * height / 4]);
    std::fs::write(&raw, bytes).unwrap();
    let path = folder.path().join("clip.mkv");
    ffmpeg(
        &format!("-f rawvideo -pix_fmt yuv420p -s {width}x{height} {tags} -i {} -c:v ffv1 {tags}", raw.display()),
        &path,
    );
    first(&path)
}

fn first(path: &Path) -> Frame {
    Capture::open(path.display().to_string()).unwrap().source_next().unwrap().unwrap()
}

fn assert_colour(frame: &Frame, expected: [f64; 3], tolerance: f64) {
    let middle = ((frame.height / 2 * frame.width + frame.width / 2) * 3) as usize;
    for (found, expected) in frame.pixels[middle..middle + 3].iter().zip(expected) {
        let off = (f64::from(*found) - expected).abs();
        assert!(off <= tolerance, "{:?} instead of {expected:?}", &frame.pixels[middle..middle + 3]);
    }
}

const COLOURS: [[u8; 3]; 4] = [[81, 90, 240], [145, 54, 34], [60, 200, 110], [180, 128, 128]];
const SMALL: (usize, usize) = (320, 240);
const HIGH_DEFINITION: (usize, usize) = (1280, 720);

#[test]
fn each_matrix_and_range_by_its_tag() {
    let folder = TempDir::new().unwrap();
    for yuv in COLOURS {
        let tagged = flat(&folder, yuv, SMALL, "-colorspace bt709 -color_range tv");
        assert_colour(&tagged, rgb(yuv, BT709, false), 2.0);
        let tagged = flat(&folder, yuv, HIGH_DEFINITION, "-colorspace smpte170m -color_range tv");
        assert_colour(&tagged, rgb(yuv, BT601, false), 2.0);
        let tagged = flat(&folder, yuv, SMALL, "-colorspace bt709 -color_range pc");
        assert_colour(&tagged, rgb(yuv, BT709, true), 2.0);
    }
}

#[test]
fn without_a_tag_the_size_decides() {
    let folder = TempDir::new().unwrap();
    for yuv in COLOURS {
        assert_colour(&flat(&folder, yuv, SMALL, ""), rgb(yuv, BT601, false), 2.0);
        assert_colour(&flat(&folder, yuv, HIGH_DEFINITION, ""), rgb(yuv, BT709, false), 2.0);
    }
}

#[test]
fn what_is_written_reads_back_in_its_colours() {
    let folder = TempDir::new().unwrap();
    for (place, colour) in [[200, 30, 30], [20, 160, 60], [40, 60, 210], [128, 128, 128]].into_iter().enumerate() {
        let path = folder.path().join(format!("{place}.mp4"));
        let mut write = WriteVideo::create(&path, Some(25.0)).unwrap();
        for index in 0..3 {
            write.stage_run(Scene::new(picture(64, 48, index, colour))).unwrap();
        }
        assert!(matches!(write.finish(), Ok(Give::Skip)));
        assert_colour(&first(&path), colour.map(f64::from), 4.0);
    }
}
