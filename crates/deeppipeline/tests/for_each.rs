//! Samples that are split, and whose parts go through stages of their own.

use deeppipeline::error::NoAnswer;
use deeppipeline::{All, Batch, Give, Overflow, Pipeline, stage};
use std::sync::mpsc::channel;

type Results<T> = Vec<Result<T, NoAnswer>>;

/// The sample, and the numbers below it.
fn below(x: u32) -> (u32, Vec<u32>) {
    (x, (0..x).collect())
}

fn values(results: Results<u32>) -> Vec<Option<u32>> {
    results.into_iter().map(Result::ok).collect()
}

#[test]
fn each_sample_comes_out_with_the_results_of_its_parts_in_order() {
    let (all, got) = channel();
    let report = Pipeline::builder()
        .source([2, 0, 3, 1].into_iter())
        .for_each(below, |x: u32| x * 10)
        .end_stage(move |(x, results): (u32, Results<u32>)| drop(all.send((x, values(results)))))
        .run()
        .unwrap();
    let got: Vec<_> = got.iter().collect();
    let ten = |x: u32| Some(10 * x);
    assert_eq!(got, [(2, vec![ten(0), ten(1)]), (0, vec![]), (3, vec![ten(0), ten(1), ten(2)]), (1, vec![ten(0)])]);
    assert!(report.balances(), "{report}");
    assert_eq!((report.joins[0].counts.entered, report.joins[0].counts.joined), (6, 6));
}

#[test]
fn a_part_without_a_result_stands_there_as_its_fate() {
    let (all, got) = channel();
    let report = Pipeline::builder()
        .source([3, 2].into_iter())
        .for_each(below, stage(|x: u32| if x == 1 { Give::Skip } else { Give::One(x) }).name("odd"))
        .end_stage(move |(_, results): (u32, Results<u32>)| drop(all.send(results)))
        .run()
        .unwrap();
    let got: Vec<Vec<_>> =
        got.iter().map(|results| results.into_iter().map(|x| x.map_err(|fate| fate.to_string())).collect()).collect();
    let skipped = Err(r#"the sample has no result of its own: stage "odd" skipped it"#.to_owned());
    assert_eq!(got, [vec![Ok(0), skipped.clone(), Ok(2)], vec![Ok(0), skipped]]);
    assert_eq!((report.joins[0].counts.joined, report.joins[0].counts.unjoined), (3, 2));
}

#[test]
fn a_batch_fills_across_samples() {
    let (sizes, batches) = channel();
    let batch = stage(move |list: Vec<u32>| {
        sizes.send(list.len()).unwrap();
        list
    });
    let report = Pipeline::builder()
        .buffer_size(4)
        .source([1, 1, 1, 1, 1, 1, 1, 1].into_iter())
        .for_each(below, batch.intake(Batch::new(4).max_wait(std::time::Duration::from_secs(600))))
        .end_stage(|_: (u32, Results<u32>)| {})
        .run()
        .unwrap();
    assert_eq!(batches.iter().collect::<Vec<_>>(), [4, 4]);
    assert_eq!(report.joins[0].counts.joined, 8);
}

#[test]
fn all_is_refused_where_parts_may_be_too_few() {
    let refused = Pipeline::builder()
        .for_each(below, stage(|list: Vec<u32>| list.len()).intake(All).name("count"))
        .end_stage(|_: (u32, Results<usize>)| {})
        .start();
    let told = refused.map(drop).unwrap_err().to_string();
    assert!(told.contains(r#"stage "count" takes all"#), "{told}");
}

#[test]
fn an_answer_is_what_comes_of_the_sample() {
    let pipeline = Pipeline::builder()
        .overflow(Overflow::Block)
        .for_each(below, |x: u32| x * 10)
        .stage(|(x, results): (u32, Results<u32>)| if x == 2 { Give::Skip } else { Give::One(results.len()) })
        .start_answering()
        .unwrap();
    let answers: Vec<_> = (0..5).map(|x| pipeline.submit(x).unwrap().wait().ok()).collect();
    assert_eq!(answers, [Some(0), Some(1), None, Some(3), Some(4)]);
    assert!(pipeline.setstop().unwrap().balances());
}
