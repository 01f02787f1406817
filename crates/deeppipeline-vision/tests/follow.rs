//! People are followed through pictures in which nobody was looked for.

mod support;

use deeppipeline_vision::{Bounds, Detections, Follow, Frame, Person, Scene};
use support::run;

fn at(x: f32) -> Bounds {
    Bounds { left: x, top: 100.0, right: x + 40.0, bottom: 200.0 }
}

fn frame(index: u64) -> Frame {
    support::picture(320, 240, index, [0; 3])
}

/// What is found in that picture: someone at each of these places.
fn found(index: u64, places: &[f32]) -> Option<Detections> {
    Some(Detections { index, people: places.iter().map(|x| Person::new(at(*x), 0.9)).collect() })
}

/// Number and left edge of everyone, from the left.
fn places(scene: &Scene) -> Vec<(u64, f32)> {
    let mut places: Vec<_> =
        scene.people.iter().map(|person| (person.track.expect("it is tracked"), person.bounds.left)).collect();
    places.sort_by(|(_, a), (_, b)| a.total_cmp(b));
    places
}

#[test]
fn nobody_is_there_before_the_first_detections() {
    assert_eq!(places(&run(&mut Follow::default(), (frame(0), None))), []);
}

#[test]
fn a_box_moves_on_between_detections_as_it_did_between_the_last() {
    let mut follow = Follow::default();
    let mut newest = None;
    for index in 0..60 {
        // One goes to the right, the other to the left; every third picture is looked at.
        let (right, left) = (20.0 + 2.0 * index as f32, 280.0 - 2.0 * index as f32);
        if index % 3 == 0 {
            newest = found(index, &[right, left]);
        }
        let scene = run(&mut follow, (frame(index), newest.clone()));
        assert_eq!(scene.frame.index, index);
        // Half of what is new counts, so that it takes a while to be right.
        if index >= 30 {
            let [one, other] = places(&scene)[..] else { panic!("both are there: {scene:?}") };
            let by = |(_, at): (u64, f32), wanted: f32| (at - wanted).abs();
            let (one, other) = if one.0 == 1 { (one, other) } else { (other, one) };
            assert!(by(one, right) < 0.1 && by(other, left) < 0.1, "picture {index}: {one:?} {other:?}");
        }
    }
}

#[test]
fn detections_that_come_late_are_of_the_picture_they_were_made_in() {
    let mut follow = Follow::default();
    run(&mut follow, (frame(0), found(0, &[10.0])));
    // Three pictures and 12 pixels later: half of four pixels a picture.
    assert_eq!(places(&run(&mut follow, (frame(6), found(3, &[22.0])))), [(1, 22.0 + 3.0 * 2.0)]);
    assert_eq!(places(&run(&mut follow, (frame(7), found(3, &[22.0])))), [(1, 22.0 + 4.0 * 2.0)]);
}

#[test]
fn who_is_found_no_more_or_has_left_the_picture_is_not_shown() {
    let mut follow = Follow::default();
    let width = frame(0).width as f32;
    for index in 0..2 {
        run(&mut follow, (frame(index), found(index, &[width - 60.0 + 20.0 * index as f32])));
    }
    assert_eq!(places(&run(&mut follow, (frame(2), None))), [(1, width - 30.0)]);
    assert_eq!(places(&run(&mut follow, (frame(5), None))), []);
    assert_eq!(places(&run(&mut follow, (frame(6), found(6, &[])))), []);
}

#[test]
fn people_are_shown_so_far_as_they_are_to_be_and_no_longer() {
    let mut follow = Follow::default().reach(2);
    assert_eq!(places(&run(&mut follow, (frame(0), found(0, &[10.0])))), [(1, 10.0)]);
    assert_eq!(places(&run(&mut follow, (frame(2), None))), [(1, 10.0)]);
    assert_eq!(places(&run(&mut follow, (frame(3), None))), []);
}
