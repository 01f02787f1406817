//! What makes a pipeline invalid is said before anything starts, with what was got and what is wanted.

use deeppipeline::builder::{BufferSize, Builder, Last};
use deeppipeline::engine::{Block, BlockResults, Graph, Node, Supervisor};
use deeppipeline::error::{GraphError, StartError};
use deeppipeline::intake::Intake;
use deeppipeline::processes::OnCrash;
use deeppipeline::{Batch, Latest, OnError, Overflow, Pipeline, Window, made_by, stage};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

fn refusal<I, T: Last>(builder: Builder<I, T>) -> String {
    match builder.start() {
        Err(StartError::Graph(error)) => error.to_string(),
        Err(other) => panic!("refused for another reason: {other}"),
        Ok(_) => panic!("not refused"),
    }
}

#[test]
fn no_stages() {
    assert_eq!(refusal(Pipeline::<()>::builder()), "stages is empty: a pipeline needs at least one stage");
}

#[test]
fn a_list_of_another_length_says_both_lengths() {
    let pipeline = Pipeline::builder().buffer_size([1, 2, 3]).stage(|x: u32| x).end_stage(|_: u32| {});
    assert_eq!(
        refusal(pipeline),
        "buffer_size has 3 sizes, but the pipeline has 2 stages (the end stage counts): give one size per stage, or a \
         single number for all"
    );
}

#[test]
fn a_buffer_of_size_zero_names_its_stage() {
    let all = Pipeline::builder().buffer_size(0).end_stage(|_: u32| {});
    assert_eq!(refusal(all), "buffer_size of stage \"closure\" is 0, but must be at least 1");
    let one = Pipeline::builder().buffer_size(vec![1, 0]).stage(|x: u32| x).end_stage(stage(|_: u32| {}).name("show"));
    assert_eq!(refusal(one), "buffer_size of stage \"show\" is 0, but must be at least 1");
    let own = Pipeline::builder().buffer_size(vec![1, 1]).stage(stage(|x: u32| x).buffer_size(0).name("detect"));
    assert_eq!(refusal(own.end_stage(|_: u32| {})), "buffer_size of stage \"detect\" is 0, but must be at least 1");
}

#[test]
fn the_buffer_size_of_a_stage_comes_before_the_pipelines() {
    for sizes in [BufferSize::from(1), BufferSize::from([1, 1, 1])] {
        let mut simulation = Pipeline::builder()
            .overflow(Overflow::DropNewest)
            .buffer_size(sizes)
            .stage(stage(|x: u32| x).name("detect").buffer_size(3))
            .stage(|x: u32| x)
            .end_stage(|_: u32| {})
            .simulate()
            .unwrap();
        for x in 0..10 {
            simulation.put_at(Duration::ZERO, x);
        }
        let report = simulation.takes("detect", Duration::from_secs(1)).unwrap().run().unwrap();
        assert_eq!(report.stages.iter().map(|stage| stage.buffer_size).collect::<Vec<_>>(), [3, 1, 1]);
        assert_eq!((report.stages[0].buffer.entered, report.stages[0].buffer.dropped()), (10, 6));
    }
}

#[test]
fn latest_with_an_explicit_policy_that_keeps_old_samples() {
    for (overflow, name) in [(Overflow::Block, "block"), (Overflow::DropNewest, "drop_newest")] {
        let pipeline = Pipeline::builder().stage(stage(|_: u32| {}).intake(Latest).name("detect").overflow(overflow));
        assert_eq!(
            refusal(pipeline),
            format!(
                "stage \"detect\" takes latest, which implies overflow \"drop_oldest\", but its overflow is set to \
                 \"{name}\": leave one of the two out"
            )
        );
    }
}

#[test]
fn latest_with_the_policy_it_implies_is_accepted() {
    let pipeline =
        Pipeline::builder().stage(stage(|_: u32| {}).intake(Latest).overflow(Overflow::DropOldest)).start().unwrap();
    assert_eq!(pipeline.setstop().unwrap().stages[0].overflow, Overflow::DropOldest);
}

#[test]
fn a_source_may_be_named_after_the_stages() {
    let report = Pipeline::builder().end_stage(|_: u32| {}).source(0..3_u32).run().unwrap();
    assert_eq!(report.stages[0].counts.used, 3);
}

#[test]
fn an_unknown_overflow_lists_the_known_ones() {
    let error = "drop".parse::<Overflow>().unwrap_err();
    assert_eq!(
        error.to_string(),
        "overflow is \"drop\", but must be one of \"drop_oldest\", \"drop_newest\", \"block\""
    );
    for policy in Overflow::ALL {
        assert_eq!(policy.to_string().parse(), Ok(policy));
    }
}

#[test]
fn nothing_is_made_of_a_pipeline_that_is_refused() {
    let made = Arc::new(AtomicBool::new(false));
    let make = Arc::clone(&made);
    let pipeline = Pipeline::builder().buffer_size([1, 1]).stage(made_by(move || {
        make.store(true, Ordering::SeqCst);
        Ok(Nothing)
    }));
    refusal(pipeline);
    assert!(!made.load(Ordering::SeqCst));

    struct Nothing;
    impl deeppipeline::Stage for Nothing {
        type Input = u32;
        type Output = u32;
        fn stage_run(&mut self, x: u32) -> Result<deeppipeline::Give<u32>, deeppipeline::BoxError> {
            Ok(deeppipeline::Give::One(x))
        }
    }
}

#[test]
fn a_simulation_and_the_engine_refuse_the_same() {
    assert_eq!(Pipeline::<()>::builder().simulate().err(), Some(GraphError::NoStages));
    assert_eq!(Supervisor::<u32>::new(Graph::default()).err(), Some(GraphError::NoStages));
    let node = Node { intake: Intake::Latest, overflow: Some(Overflow::Block), ..Node::new("detect") };
    let graph = Graph { stages: vec![node], ..Graph::default() };
    assert!(matches!(Supervisor::<u32>::new(graph), Err(GraphError::OverflowAgainstIntake { .. })));
}

#[test]
fn options_of_a_stage_add_to_each_other() {
    let pipeline = Pipeline::builder()
        .end_stage(stage(|_: u32| {}).name("show").overflow(Overflow::Block).on_error(OnError::Skip))
        .start()
        .unwrap();
    let report = pipeline.setstop().unwrap();
    assert_eq!((report.stages[0].name.as_str(), report.stages[0].overflow), ("show", Overflow::Block));
}

#[test]
fn a_simulation_told_about_an_unknown_stage_names_the_known_ones() {
    let mut simulation = Pipeline::builder().source(0..3).end_stage(|_: i32| {}).simulate().unwrap();
    let error = simulation.takes("detect", std::time::Duration::ZERO).err().unwrap();
    assert_eq!(error.to_string(), "no stage is named \"detect\"; there are [\"source\", \"closure\"]");
}

#[test]
fn a_stage_has_a_worker_at_least() {
    let none = Pipeline::builder().stage(made_by(|| Ok(|x: u32| x)).name("detect").workers(0));
    assert_eq!(refusal(none), "workers of stage \"detect\" is 0, but must be 1 to 1024");
}

#[test]
fn windows_and_batches_that_cannot_be() {
    let zero = Pipeline::builder().stage(stage(|_: Vec<u32>| {}).intake(Window::new(3).stride(0)).name("sum"));
    assert_eq!(refusal(zero), "the window of stage \"sum\" has size 3 and stride 0, but both must be at least 1");
    let keys =
        Pipeline::builder().stage(stage(|_: Vec<u32>| {}).intake(Window::new(3).max_keys(0).by_key(|x: &u32| *x)));
    assert_eq!(refusal(keys), "max_keys of a window is 0, but must be at least 1: for how many keys windows are kept");
    let idle = Pipeline::builder().stage(stage(|_: Vec<u32>| {}).intake(Window::new(3).idle(0).by_key(|x: &u32| *x)));
    assert_eq!(
        refusal(idle),
        "idle of a window is 0, but must be at least 1: after how many samples without it a key is forgotten"
    );
    let several =
        Pipeline::builder().stage(made_by(|| Ok(|_: Vec<u32>| {})).intake(Window::new(3)).name("sum").workers(2));
    assert_eq!(
        refusal(several),
        "stage \"sum\" takes windows and has 2 workers, each of which would see some of the samples: leave workers and max_workers out"
    );
    let batch = Pipeline::builder().stage(stage(|list: Vec<u32>| list).intake(Batch::new(4)).name("sum"));
    assert_eq!(
        refusal(batch),
        "stage \"sum\" takes batches of up to 4, but its buffer_size is 2: give it a buffer_size of 4 or more"
    );
    let batch = Pipeline::builder().stage(stage(|list: Vec<u32>| list).intake(Batch::new(0)).name("sum"));
    assert_eq!(refusal(batch), "max_size of the batch of stage \"sum\" is 0, but must be at least 1");
}

#[test]
fn an_age_of_zero_names_its_stage() {
    let age = Pipeline::builder().max_age(Duration::ZERO).stage(stage(|x: u32| x).name("detect"));
    assert_eq!(
        refusal(age),
        "max_age of stage \"detect\" is 0, but must be more: how old a sample may be when the stage takes it"
    );
}

#[test]
fn buffer_bytes_are_refused_where_every_stage_is_on_a_thread() {
    assert_eq!(
        refusal(Pipeline::builder().buffer_bytes(1 << 20).end_stage(|_: u32| {})),
        "buffer_bytes is set, but every stage runs on a thread, where only buffer_size bounds what waits: leave it out, or run \
         a stage in a process"
    );
    assert_eq!(
        refusal(Pipeline::builder().end_stage(stage(|_: u32| {}).name("show").buffer_bytes(1 << 20))),
        "buffer_bytes of stage \"show\" is set, but neither it nor the stage before it runs in a process, and between \
         threads only buffer_size bounds what waits: leave it out, or run one of the two in a process"
    );
    assert_eq!(
        refusal(Pipeline::builder().end_stage(stage(|_: u32| {}).name("show").buffer_bytes(0))),
        "buffer_bytes of stage \"show\" is 0, but must be at least 1: how many bytes wait in front of it at most"
    );
}

#[test]
fn what_is_said_of_a_crash_is_refused_on_a_thread() {
    let said = [
        ("on_crash", Node { on_crash: Some(OnCrash::Skip), ..Node::new("detect") }),
        ("on_crash", Node { on_crash: Some(OnCrash::Retry), ..Node::new("detect") }),
        ("max_restarts", Node { max_restarts: Some(3), ..Node::new("detect") }),
    ];
    for (option, node) in said {
        let graph = Graph { stages: vec![node], ..Graph::default() };
        assert_eq!(
            graph.check().unwrap_err().to_string(),
            format!(
                "{option} of stage \"detect\" is set, but the stage runs on a thread, where a crash ends the whole program: \
                 leave it out, or run the stage in a process"
            )
        );
    }
}

#[test]
fn a_stack_of_no_size_names_its_stage() {
    let pipeline = Pipeline::builder().end_stage(stage(|_: u32| {}).name("detect").stack_size(0));
    assert_eq!(
        refusal(pipeline),
        "stack_size of stage \"detect\" is 0, but must be more: bytes of stack for the thread of each worker"
    );
}

/// A parallel block: its branches, and whether they are joined.
type ParallelBlock<'a> = (&'a [Range<usize>], bool);

/// The refusal of so many stages with these blocks.
fn refusal_of_blocks(stages: usize, blocks: &[ParallelBlock<'_>]) -> Option<GraphError> {
    let block = |(branches, joined): &ParallelBlock<'_>| Block {
        name: "block".to_owned(),
        branches: branches.to_vec(),
        results: if *joined { BlockResults::Joined } else { BlockResults::End },
        routed: false,
    };
    let graph = Graph {
        stages: (0..stages).map(|_| Node::new("stage")).collect(),
        blocks: blocks.iter().map(block).collect(),
        ..Graph::default()
    };
    Supervisor::<u32>::new(graph).err()
}

#[test]
fn something_takes_what_is_joined_and_nothing_follows_the_end() {
    let (two, longer) = (&[0..1, 1..2][..], &[0..3, 3..4][..]);
    assert_eq!(refusal_of_blocks(3, &[(two, true)]), None);
    assert_eq!(refusal_of_blocks(2, &[(two, true)]), Some(GraphError::JoinAtTheEnd));
    assert_eq!(refusal_of_blocks(2, &[(two, false)]), None);
    assert_eq!(refusal_of_blocks(3, &[(two, false)]), Some(GraphError::BehindTheEnd));
    // A block in a branch: the join of the outer one takes what the inner one gives, an end does not.
    let inner = &[1..2, 2..3][..];
    assert_eq!(refusal_of_blocks(5, &[(longer, true), (inner, true)]), None);
    assert_eq!(refusal_of_blocks(5, &[(longer, true), (inner, false)]), Some(GraphError::BehindTheEnd));
    assert_eq!(refusal_of_blocks(4, &[(longer, false), (inner, true)]), Some(GraphError::JoinAtTheEnd));
    assert_eq!(refusal_of_blocks(4, &[(longer, false), (inner, false)]), None);
    // The inner block may be all that the branch has.
    let first = &[0..1, 1..3][..];
    assert_eq!(refusal_of_blocks(5, &[(longer, true), (first, true)]), None);
}

#[test]
fn blocks_whose_branches_are_elsewhere_are_refused() {
    let misplaced = |stages, blocks: &[ParallelBlock<'_>]| {
        let refusal = refusal_of_blocks(stages, blocks);
        assert!(matches!(refusal, Some(GraphError::MisplacedBlock { .. })), "{blocks:?}: {refusal:?}");
    };
    let (two, behind) = (&[0..1, 1..2][..], &[2..3, 3..4][..]);
    misplaced(3, &[(&[], true)]);
    misplaced(3, &[(&[7..8, 8..9], false)]);
    misplaced(3, &[(&[0..1, 1..7], false)]);
    misplaced(3, &[(&[0..2, 1..3], false)]);
    misplaced(4, &[(&[0..1, 2..3], true)]);
    misplaced(5, &[(behind, true), (two, true)]);
    // One that goes on behind the branch in which it begins, and one that comes before the one around it.
    misplaced(4, &[(&[0..1, 1..3], true), (&[1..2, 2..4], true)]);
    misplaced(4, &[(&[0..1, 1..2], true), (&[0..2, 2..3], true)]);
    assert_eq!(refusal_of_blocks(3, &[(&[0..1, 1..1], true)]), Some(GraphError::EmptyBranch));
}
