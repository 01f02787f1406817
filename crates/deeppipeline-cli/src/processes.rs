//! The stages in processes of their own; reading the input and counting what is done stay in the command's.

use crate::behaviour::Arguments;
use crate::output::Output;
use crate::progress::Counter;
use deeppipeline::{
    BoxError, Builder, Give, Isolated, OnCrash, Options, Pipeline, Sourced, Stage, StartError, Workers,
};
use deeppipeline_vision::{
    Capture, ClassifyBehaviour, ClassifyBehaviourSettings, DetectPeople, DetectPeopleSettings, Draw, EstimatePose,
    EstimatePoseSettings, Frame, Record, RecordSettings, Scene, Track, TrackSettings, WriteVideo, WriteVideoSettings,
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
    capture: Capture,
    output: &Output,
    seen: Counter,
) -> Result<Pipeline<Sourced>, StartError> {
    let runtime = arguments.runtime();
    let [detect, pose, classify] = arguments.models();
    // Half a file cannot be gone on with.
    let stop = || Options::new().on_crash(OnCrash::Stop);
    let frame_rate = capture.frame_rate();
    builder
        .source(capture)
        .stage_isolated::<DetectPeople>(DetectPeopleSettings { model: detect, runtime, min_score: None })
        .stage_isolated::<Track>(TrackSettings::default())
        .stage_isolated::<EstimatePose>(EstimatePoseSettings { model: pose, runtime })
        .stage_isolated_windows::<ClassifyBehaviour>(
            ClassifyBehaviour::window(),
            ClassifyBehaviourSettings { model: classify, runtime },
        )
        .stage_isolated::<Record>(RecordSettings { path: output.jsonl() })
        .options(stop())
        .stage_isolated::<Draw>(())
        .stage_isolated::<Write>(WriteVideoSettings { path: output.video(), frame_rate })
        .options(stop().name("WriteVideo"))
        .end_stage(move |people: usize| seen.count(people))
        .options(Options::new().name("Progress"))
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
