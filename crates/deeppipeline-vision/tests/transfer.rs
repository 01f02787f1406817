//! Pictures and scenes cross from one process to another as they are; what is no such thing is an error.
#![cfg(all(feature = "processes", target_os = "linux"))]

mod support;

use std::time::Duration;

use deeppipeline::processes::Transfer;
use deeppipeline_vision::{Behaviour, Bounds, Draw, Frame, Joint, Keypoint, Person, Pose, Scene};

fn sent<T: Transfer>(value: &T) -> Vec<u8> {
    // What lay in the memory before must not show.
    let mut bytes = vec![0xA5; value.size().unwrap()];
    value.write(&mut bytes).unwrap();
    bytes
}

fn received<T: Transfer>(bytes: Vec<u8>) -> Result<T, String> {
    T::read(bytes.into()).map_err(|error| error.to_string())
}

fn frame() -> Frame {
    let time = Duration::new(u64::MAX, 999_999_999);
    Frame::new(5, 3, u64::MAX, time, (0..45).collect()).unwrap()
}

/// People of whom nothing, something and everything is known.
fn people() -> Vec<Person> {
    let bounds = Bounds { left: -1.5, top: f32::INFINITY, right: f32::MIN_POSITIVE, bottom: 4e6 };
    let keypoint = |joint: usize| Keypoint { x: joint as f32, y: -0.0, score: 0.1 * joint as f32 };
    let pose = Pose { keypoints: std::array::from_fn::<_, { Joint::COUNT }, _>(keypoint) };
    let mut people = Vec::new();
    for known in 0..8 {
        let mut person = Person::new(bounds, 0.5);
        person.track = (known & 1 != 0).then_some(u64::MAX);
        person.pose = (known & 2 != 0).then_some(pose);
        person.behaviour = (known & 4 != 0).then(|| Behaviour { label: "wäving — 手".to_owned(), score: 1.0 });
        people.push(person);
    }
    people.push(Person { behaviour: Some(Behaviour { label: String::new(), score: 0.0 }), ..people[0].clone() });
    people
}

#[test]
fn a_frame_arrives_as_it_was() {
    for frame in [frame(), Frame::new(0, 0, 0, Duration::ZERO, Vec::new()).unwrap()] {
        assert!(received::<Frame>(sent(&frame)).unwrap() == frame);
    }
}

#[test]
fn a_scene_arrives_as_it_was() {
    for people in [Vec::new(), people()] {
        let scene = Scene { frame: frame(), people };
        let arrived = received::<Scene>(sent(&scene)).unwrap();
        assert!(arrived.frame == scene.frame);
        assert_eq!(arrived.people, scene.people);
    }
}

#[test]
fn what_arrived_can_be_drawn_on_and_sent_again() {
    let mut scene = support::scene(3, &[(Bounds { left: 8.0, top: 8.0, right: 40.0, bottom: 50.0 }, 0.9)]);
    let mut arrived = received::<Scene>(sent(&scene)).unwrap();
    let before = arrived.frame.clone();
    arrived = support::run(&mut Draw::new(), arrived);
    scene = support::run(&mut Draw::new(), scene);
    assert!(arrived.frame == scene.frame && arrived.frame != before);
    assert_eq!(sent(&arrived), sent(&scene));
}

#[test]
fn bytes_that_end_too_early_or_too_late_are_an_error() {
    let scene = Scene { frame: frame(), people: people() };
    let (whole_frame, whole_scene) = (sent(&scene.frame), sent(&scene));
    for length in 0..whole_frame.len() {
        assert!(received::<Frame>(whole_frame[..length].to_vec()).is_err(), "{length} bytes");
    }
    for length in 0..whole_scene.len() {
        assert!(received::<Scene>(whole_scene[..length].to_vec()).is_err(), "{length} bytes");
    }
    assert!(received::<Frame>([&whole_frame[..], &[0]].concat()).is_err());
    assert!(received::<Scene>([&whole_scene[..], &[0]].concat()).is_err());
}

#[test]
fn broken_bytes_never_panic() {
    let whole = sent(&Scene { frame: frame(), people: people() });
    for place in 0..whole.len() {
        for value in [0, 1, 0x7F, 0x80, 0xFF, whole[place] ^ 1] {
            let mut broken = whole.clone();
            broken[place] = value;
            let _ = received::<Scene>(broken.clone());
            let _ = received::<Frame>(broken);
        }
    }
    // As large as can be said, and more pixels than there are bytes.
    assert!(received::<Frame>(vec![0xFF; 28]).is_err());
}

#[test]
fn a_frame_without_all_of_its_pixels_cannot_be_sent() {
    let mut short = frame();
    short.pixels = vec![0; 44].into();
    let error = short.size().unwrap_err().to_string();
    support::assert_one_line(&error, &["5x3", "44"]);
    assert!(Scene::new(short).size().is_err());
}
