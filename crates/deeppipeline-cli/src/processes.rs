//! The stages in processes of their own; reading the input and counting what is done stay in the command's.

use crate::arguments::Arguments;
use crate::behaviour::{detections, frames};
use crate::output::Output;
use crate::progress::Counter;
use deeppipeline::builder::Builder;
use deeppipeline::error::StartError;
use deeppipeline::pipeline::Sourced;
use deeppipeline::processes::{OnCrash, Workers};
use deeppipeline::{BoxError, Give, Isolated, Overflow, Pipeline, Stage, isolated, stage};
use deeppipeline_vision::{
    Capture, ClassifyBehaviour, ClassifyBehaviourSettings, DetectPeople, DetectPeopleSettings, Draw, EstimatePose,
    EstimatePoseSettings, Follow, Frame, Record, RecordSettings, Scene, Track, TrackSettings, WriteVideo,
    WriteVideoSettings,
};

/// The workers that this program can be started as.
pub(crate) fn workers() -> Workers {
    deeppipeline_vision::workers(deeppipeline::worker()).stage::<Write>()
}

/// Starts every stage behind the input. What can be found wrong with the models was found before; the files to write
/// are created once, by the processes that write them.
pub(crate) fn start(
    arguments: &Arguments,
    builder: Builder<Frame, Frame>,
    overflow: Overflow,
    capture: Capture,
    output: &Output,
    seen: Counter,
) -> Result<Pipeline<Sourced>, StartError> {
    let runtime = arguments.runtime();
    let [detect, pose, classify] = arguments.models();
    let frame_rate = capture.frame_rate();
    let record = isolated::<Record>(RecordSettings { path: output.jsonl() });
    let write = isolated::<Write>(WriteVideoSettings { path: output.video(), frame_rate }).name("WriteVideo");
    let classify = isolated::<ClassifyBehaviour>(ClassifyBehaviourSettings { model: classify, runtime });
    let detect = isolated::<DetectPeople>(DetectPeopleSettings { model: detect, runtime, min_score: None });
    let builder = builder.source(capture);
    let tracked = match arguments.detect_every {
        1 => builder.stage(detect).stage(isolated::<Track>(TrackSettings::default())),
        // Here, where the pictures are: it does little for each.
        every => builder.parallel_latest((frames(), detections(every, overflow, detect))).stage(Follow::default()),
    };
    tracked
        .stage(isolated::<EstimatePose>(EstimatePoseSettings { model: pose, runtime }))
        .stage(classify.intake(ClassifyBehaviour::window()))
        // Half a file cannot be gone on with.
        .stage(record.on_crash(OnCrash::Stop))
        .stage(isolated::<Draw>(()))
        .stage(write.on_crash(OnCrash::Stop))
        .end_stage(stage(move |people: usize| seen.count(people)).name("Progress"))
        .start()
}

/// Writes the pictures; gives back how many people were in each, so that no picture comes back only to be counted.
struct Write(WriteVideo);

impl Stage for Write {
    type Input = Scene;
    type Output = usize;

    fn setup(&mut self) -> Result<(), BoxError> {
        self.0.setup()
    }

    fn stage_run(&mut self, scene: Scene) -> Result<Give<usize>, BoxError> {
        let people = scene.people.len();
        self.0.stage_run(scene)?;
        Ok(Give::One(people))
    }

    fn finish(&mut self) -> Result<Give<usize>, BoxError> {
        self.0.finish()?;
        Ok(Give::Skip)
    }

    fn teardown(&mut self) -> Result<(), BoxError> {
        self.0.teardown()
    }
}

impl Isolated for Write {
    const NAME: &str = "behaviour.write";
    type Settings = WriteVideoSettings;

    fn make(settings: WriteVideoSettings) -> Result<Self, BoxError> {
        Ok(Write(WriteVideo::make(settings)?))
    }
}
