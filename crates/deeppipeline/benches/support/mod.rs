//! Rivals take turns in every round, so that the machine's mood falls on all of them alike; medians are compared.

use std::fmt::Write;

/// How often every rival runs.
pub(crate) const ROUNDS: usize = 5;

/// One rival: its name, and what measures it once.
pub(crate) type Rival<'a> = (&'a str, &'a dyn Fn() -> f64);

/// Runs the rivals in turns, and prints a table and a line of JSON. The first is ours; ratios are ours against each.
pub(crate) fn compare(title: &str, unit: &str, rivals: &[Rival<'_>]) {
    let mut runs = vec![Vec::new(); rivals.len()];
    for _ in 0..ROUNDS {
        for ((_, measure), runs) in rivals.iter().zip(&mut runs) {
            runs.push(measure());
        }
    }
    let medians: Vec<f64> = runs.iter().map(|runs| median(runs.clone())).collect();
    let width = rivals.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    println!("{title} [{unit}], medians of {ROUNDS} rounds");
    for ((name, _), median) in rivals.iter().zip(&medians) {
        println!("  {name:width$}  {median:>10.3}  ours is {:>5.2} of it", medians[0] / median);
    }
    let mut json = String::new();
    for ((name, _), runs) in rivals.iter().zip(&runs) {
        let comma = if json.is_empty() { "" } else { ", " };
        let _ = write!(json, "{comma}{name:?}: {runs:.4?}");
    }
    println!("  {{\"bench\": {title:?}, \"unit\": {unit:?}, \"runs\": {{{json}}}}}\n");
}

pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
