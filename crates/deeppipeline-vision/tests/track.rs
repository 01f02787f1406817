//! Numbers stay with their person.

mod support;

use deeppipeline_vision::{Bounds, Scene, Track};
use support::{run, scene};

fn at(x: f32, y: f32) -> Bounds {
    Bounds { left: x, top: y, right: x + 40.0, bottom: y + 100.0 }
}

/// The number of the person whose box starts nearest to `x`.
fn number_at(scene: &Scene, x: f32) -> Option<u64> {
    let nearest = scene.people.iter().min_by(|a, b| (a.bounds.left - x).abs().total_cmp(&(b.bounds.left - x).abs()));
    nearest.and_then(|person| person.track)
}

#[test]
fn two_people_who_cross_keep_their_numbers() {
    let mut track = Track::new();
    let mut last = None;
    for step in 0..60 {
        // One goes right, the other left and nearer to the camera; they meet in the middle.
        let (a, b) = (step as f32 * 5.0, 300.0 - step as f32 * 5.0);
        last = Some((run(&mut track, scene(step, &[(at(a, 100.0), 0.8), (at(b, 130.0), 0.8)])), a, b));
    }
    let (scene, a, b) = last.unwrap();
    assert_eq!((number_at(&scene, a), number_at(&scene, b)), (Some(1), Some(2)));
}

#[test]
fn someone_half_hidden_keeps_the_number() {
    let mut track = Track::new();
    for step in 0..40 {
        let score = if (15..25).contains(&step) { 0.25 } else { 0.8 };
        let scene = run(&mut track, scene(step, &[(at(step as f32 * 3.0, 50.0), score)]));
        if step >= 3 {
            assert_eq!(number_at(&scene, 0.0), Some(1), "step {step}");
        }
    }
}

#[test]
fn someone_who_comes_back_soon_keeps_the_number_and_later_gets_a_new_one() {
    let mut track = Track::new().remember(10);
    let present = [(at(50.0, 50.0), 0.8)];
    let mut number = |steps: u64, boxes: &[(Bounds, f32)]| {
        let scenes = (0..steps).map(|step| run(&mut track, scene(step, boxes)));
        scenes.last().and_then(|scene| number_at(&scene, 50.0))
    };
    assert_eq!(number(5, &present), Some(1));
    assert_eq!(number(5, &[]), None);
    assert_eq!(number(5, &present), Some(1));
    assert_eq!(number(20, &[]), None);
    assert_eq!(number(5, &present), Some(2));
}

#[test]
fn a_glimpse_gets_no_number() {
    let mut track = Track::new();
    run(&mut track, scene(0, &[(at(0.0, 0.0), 0.8)]));
    let with_ghost = run(&mut track, scene(1, &[(at(0.0, 0.0), 0.8), (at(300.0, 0.0), 0.9)]));
    assert_eq!(with_ghost.people.len(), 1);
    for step in 2..40 {
        run(&mut track, scene(step, &[(at(0.0, 0.0), 0.8)]));
    }
    let newcomer = [(at(0.0, 0.0), 0.8), (at(150.0, 0.0), 0.8)];
    let scenes: Vec<Scene> = (40..44).map(|step| run(&mut track, scene(step, &newcomer))).collect();
    assert_eq!(number_at(scenes.last().unwrap(), 150.0), Some(2));
}
