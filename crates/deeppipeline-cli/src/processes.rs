//! The stages in processes of their own; reading the input and counting what is done stay in the command's.

use crate::arguments::Arguments;
use crate::behaviour::{detections, frames, with_sources};
use crate::each_input::EachInput;
use crate::output::Output;
use crate::progress::Counter;
use deeppipeline::builder::Builder;
use deeppipeline::error::StartError;
use deeppipeline::processes::{OnCrash, Workers};
use deeppipeline::{BoxError, Give, Isolated, Overflow, Pipeline, Stage, isolated, stage};
use deeppipeline_vision::{
    Capture, ClassifyBehaviour, ClassifyBehaviourSettings, DetectPeople, DetectPeopleSettings, Draw, EstimatePose,
    EstimatePoseSettings, Follow, Frame, Record, RecordSettings, Scene, Track, TrackSettings, WriteVideo,
    WriteVideoSettings,
};

/// The workers that this program can be started as.
pub(crate) fn workers() -> Workers {
    deeppipeline_vision::workers(deeppipeline::worker())
        .stage::<EachInput<Track>>()
        .stage::<EachInput<Record>>()
        .stage::<EachInput<Write>>()
}

/// Starts every stage behind the input. What can be found wrong with the models was found before; the files to write
/// are created once, by the processes that write them.
pub(crate) fn start(
    arguments: &Arguments,
    builder: Builder<Frame, Frame>,
    overflow: Overflow,
    captures: Vec<(String, Capture)>,
    outputs: &[Output],
    seen: Counter,
) -> Result<Pipeline<Frame>, StartError> {
    let runtime = arguments.runtime();
    let [detect, pose, classify] = arguments.models();
    let inputs = || captures.iter().zip(outputs);
    let tracks = inputs().map(|((name, _), _)| (name.clone(), TrackSettings::default())).collect();
    let records = inputs().map(|((name, _), output)| (name.clone(), RecordSettings { path: output.jsonl() })).collect();
    let writes = inputs().map(|((name, capture), output)| {
        (name.clone(), WriteVideoSettings { path: output.video(), frame_rate: capture.frame_rate() })
    });
    let record = isolated::<EachInput<Record>>(records).name("Record");
    let write = isolated::<EachInput<Write>>(writes.collect()).name("WriteVideo");
    let window = ClassifyBehaviour::window_of(captures.len());
    let classify = isolated::<ClassifyBehaviour>(ClassifyBehaviourSettings { model: classify, runtime });
    let detect = isolated::<DetectPeople>(DetectPeopleSettings { model: detect, runtime, min_score: None });
    // Here, where the pictures are: it does little for each.
    let follows = EachInput::new(captures.iter().map(|(name, _)| (name.clone(), Follow::default())));

    let builder = with_sources(builder, arguments, captures);
    let tracked = match arguments.detect_every {
        1 => builder.stage(detect).stage(isolated::<EachInput<Track>>(tracks).name("Track")),
        every => builder.parallel_latest((frames(), detections(every, overflow, detect))).stage(follows),
    };
    tracked
        .stage(isolated::<EstimatePose>(EstimatePoseSettings { model: pose, runtime }))
        .stage(classify.intake(window))
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
    const NAME: &str = "behaviour.write_one";
    type Settings = WriteVideoSettings;

    fn make(settings: WriteVideoSettings) -> Result<Self, BoxError> {
        Ok(Write(WriteVideo::make(settings)?))
    }
}

/// A stage of which there is one for each input in a process.
trait OfEachInput: Isolated {
    /// The name under which all of them together are made there.
    const NAME_OF_ALL: &str;
}

impl OfEachInput for Track {
    const NAME_OF_ALL: &str = "behaviour.track";
}

impl OfEachInput for Record {
    const NAME_OF_ALL: &str = "behaviour.record";
}

impl OfEachInput for Write {
    const NAME_OF_ALL: &str = "behaviour.write";
}

impl<S: OfEachInput> Isolated for EachInput<S> {
    const NAME: &str = S::NAME_OF_ALL;
    /// The name of each input, and the settings of its stage.
    type Settings = Vec<(String, S::Settings)>;

    fn make(settings: Self::Settings) -> Result<Self, BoxError> {
        let stages = settings.into_iter().map(|(input, settings)| Ok((input, S::make(settings)?)));
        Ok(EachInput::new(stages.collect::<Result<Vec<_>, BoxError>>()?))
    }
}
