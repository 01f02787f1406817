//! Several sources in front of a stage in a process: it knows the name of each, also of one that came later.

use crate::stages::{end, ended, isolated_stage, pipeline};
use deeppipeline::{Give, Overflow, current_sample, isolated};

isolated_stage! {
    /// Gives the name of the source of what it gets.
    pub(crate) Asks, "asks": |x: i64| -> (String, i64) {
        let sample = current_sample().ok_or("it works on no sample")?;
        Ok(Give::One((sample.source().ok_or("its source has no name")?.to_owned(), x)))
    }
}

#[test]
fn a_process_knows_the_names_of_sources_that_come_later_too() {
    let (end, values) = end();
    let pipeline = pipeline()
        .overflow(Overflow::Block)
        .source_at("north", 0..20)
        .entrance("by hand")
        .stage(isolated::<Asks>(()))
        .end_stage(end)
        .start()
        .unwrap();
    pipeline.put_into("by hand", 100).unwrap();
    pipeline.add_source("later", 200..220).unwrap();
    let mut got: Vec<(String, i64)> = (0..41).map(|_| values.next()).collect();
    let report = ended(pipeline);
    assert!(report.balances(), "{report}");
    // In order for each.
    got.sort_by(|one, other| one.0.cmp(&other.0));
    let of = |name: &str| got.iter().filter(|(source, _)| source == name).map(|(_, x)| *x).collect::<Vec<_>>();
    assert_eq!((of("north"), of("by hand"), of("later")), ((0..20).collect(), vec![100], (200..220).collect()));
}
