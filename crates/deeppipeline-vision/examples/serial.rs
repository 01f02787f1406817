//! Runs every stage in series, one after the other, and prints what each costs: what a pipeline has to beat.
//!
//! `cargo run --release -p deeppipeline-vision --example serial -- clips/park.mp4 annotated.mp4`

use std::time::{Duration, Instant};

use deeppipeline::engine::WindowStore;
use deeppipeline::{BoxError, Give, Source, Stage};
use deeppipeline_vision::{
    Capture, ClassifyBehaviour, DetectPeople, Draw, EstimatePose, Record, Scene, Track, WriteVideo, available_runtime,
};

const NAMES: [&str; 8] = ["capture", "detect", "track", "pose", "behaviour", "record", "draw", "write"];

fn main() -> Result<(), BoxError> {
    let mut arguments = std::env::args().skip(1);
    let input = arguments.next().unwrap_or_else(|| "clips/park.mp4".into());
    let output = arguments.next().unwrap_or_else(|| "annotated.mp4".into());
    let models = arguments.next().unwrap_or_else(|| "models".into());

    let mut capture = Capture::open(&input)?;
    println!("{}x{}, {:?} frames, live: {}", capture.width(), capture.height(), capture.frames(), capture.is_live());
    println!("models run by {:?}", available_runtime()?);
    let mut detect = DetectPeople::load(format!("{models}/nanodet_416.onnx"))?;
    let mut track = Track::new();
    let mut pose = EstimatePose::load(format!("{models}/movenet_lightning_192.onnx"))?;
    let mut behaviour = ClassifyBehaviour::load(format!("{models}/pose_classifier_body18.onnx"))?;
    let mut windows = WindowStore::new(ClassifyBehaviour::window());
    let mut record = Record::create(format!("{output}.jsonl"))?;
    let mut draw = Draw::new();
    let mut write = WriteVideo::create(&output, capture.frame_rate())?;
    detect.setup()?;
    pose.setup()?;
    behaviour.setup()?;

    let mut spent = vec![Vec::new(); NAMES.len()];
    let begin = Instant::now();
    loop {
        let mut clock = Clock { place: 0, last: Instant::now(), spent: &mut spent };
        let Some(frame) = capture.source_next()? else { break };
        clock.tick();
        let scene = one(detect.stage_run(frame)?)?;
        clock.tick();
        let scene = one(track.stage_run(scene)?)?;
        clock.tick();
        let scene = one(pose.stage_run(scene)?)?;
        clock.tick();
        let sights = ClassifyBehaviour::sights(&scene);
        let scene = one(behaviour.stage_run(windows.windows(scene, sights))?)?;
        clock.tick();
        let scene = one(record.stage_run(scene)?)?;
        clock.tick();
        let scene = one(draw.stage_run(scene)?)?;
        clock.tick();
        write.stage_run(scene)?;
        clock.tick();
    }
    record.finish()?;
    write.finish()?;
    let frames = spent[0].len();
    let all = begin.elapsed();
    for (name, times) in NAMES.iter().zip(&mut spent) {
        times.sort();
        let median = times.get(times.len() / 2).copied().unwrap_or_default();
        println!("{name:>10}: {:6.2} ms median, {:6.2} ms 90 %", millis(median), millis(times[times.len() * 9 / 10]));
    }
    println!("{frames} frames in {:.2} s, {:.1} a second", all.as_secs_f64(), frames as f64 / all.as_secs_f64());
    Ok(())
}

struct Clock<'a> {
    place: usize,
    last: Instant,
    spent: &'a mut [Vec<Duration>],
}

impl Clock<'_> {
    fn tick(&mut self) {
        let now = Instant::now();
        self.spent[self.place].push(now - self.last);
        (self.place, self.last) = (self.place + 1, now);
    }
}

fn one(given: Give<Scene>) -> Result<Scene, BoxError> {
    match given {
        Give::One(scene) => Ok(scene),
        _ => Err("every stage here gives one scene for one".into()),
    }
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
