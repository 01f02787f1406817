//! Tests of who walks, who stands, and when it cannot be told, on poses made of numbers.

mod support;

use deeppipeline::{Pipeline, stage};
use deeppipeline_vision::{Behaviour, Bounds, ClassifyBehaviour, Joint, Keypoint, Person, Pose, Scene};
use support::{model, picture};

const HEIGHT: f32 = 170.0;

/// Someone seen from the front, `height` pixels tall, whose head is at `x` and whose feet stand at 300.
fn upright(x: f32, left_foot: f32, right_foot: f32) -> [(Joint, f32, f32); 17] {
    let y = |part: f32| 300.0 - part * HEIGHT;
    [
        (Joint::Nose, x, y(0.93)),
        (Joint::LeftEye, x + 3.0, y(0.95)),
        (Joint::RightEye, x - 3.0, y(0.95)),
        (Joint::LeftEar, x + 7.0, y(0.94)),
        (Joint::RightEar, x - 7.0, y(0.94)),
        (Joint::LeftShoulder, x + 18.0, y(0.82)),
        (Joint::RightShoulder, x - 18.0, y(0.82)),
        (Joint::LeftElbow, x + 23.0, y(0.63)),
        (Joint::RightElbow, x - 23.0, y(0.63)),
        (Joint::LeftWrist, x + 24.0, y(0.47)),
        (Joint::RightWrist, x - 24.0, y(0.47)),
        (Joint::LeftHip, x + 10.0, y(0.52)),
        (Joint::RightHip, x - 10.0, y(0.52)),
        (Joint::LeftKnee, x + 10.0 + left_foot / 2.0, y(0.28)),
        (Joint::RightKnee, x - 10.0 + right_foot / 2.0, y(0.28)),
        (Joint::LeftAnkle, x + 10.0 + left_foot, y(0.03)),
        (Joint::RightAnkle, x - 10.0 + right_foot, y(0.03)),
    ]
}

fn person(points: [(Joint, f32, f32); 17], score: f32) -> Person {
    let mut keypoints = [Keypoint::default(); 17];
    for (joint, x, y) in points {
        keypoints[joint as usize] = Keypoint { x, y, score };
    }
    let bounds = Bounds { left: points[0].1 - 30.0, top: 130.0, right: points[0].1 + 30.0, bottom: 300.0 };
    Person { track: Some(1), pose: Some(Pose { keypoints }), ..Person::new(bounds, 0.8) }
}

/// The scenes with the behaviours that a pipeline gives the people in them.
fn classified(scenes: impl IntoIterator<Item = Scene, IntoIter: Send + 'static>) -> Vec<Scene> {
    let classify = ClassifyBehaviour::load(model("pose_classifier_body18.onnx")).unwrap();
    let stream = Pipeline::builder()
        .source(scenes.into_iter())
        .stage(stage(classify).intake(ClassifyBehaviour::window().by_keys(ClassifyBehaviour::sights)))
        .stream()
        .unwrap();
    stream.collect::<Result<_, _>>().unwrap()
}

/// The behaviour after 30 pictures at 25 a second of a person who depends on the time in seconds.
fn after_a_while(person_at: impl Fn(f32) -> Person) -> Behaviour {
    let people_at = |index: u64| vec![person_at(index as f32 * 0.04)];
    let scenes: Vec<Scene> =
        (0..30).map(|index| Scene { frame: picture(8, 8, index, [0; 3]), people: people_at(index) }).collect();
    classified(scenes).last().and_then(|scene| scene.people[0].behaviour.clone()).unwrap()
}

#[test]
fn someone_who_gets_on_with_swinging_feet_walks() {
    let stride = |time: f32| 35.0 * (time * std::f32::consts::TAU).sin();
    let walking = after_a_while(|time| person(upright(100.0 + time * 110.0, stride(time), -stride(time)), 0.9));
    assert_eq!(walking.label, "walking");
    assert!(walking.score > 0.8, "{walking:?}");
}

#[test]
fn someone_who_only_jitters_stands() {
    let jitter = |time: f32| 1.5 * (time * 90.0).sin();
    let standing = after_a_while(|time| person(upright(100.0 + jitter(time), jitter(time), jitter(time + 0.3)), 0.9));
    assert_eq!(standing.label, "standing");
    assert!(standing.score > 0.8, "{standing:?}");
}

#[test]
fn hidden_joints_are_unknown() {
    assert!(after_a_while(|_| person(upright(100.0, 0.0, 0.0), 0.1)).is_unknown());
}

#[test]
fn someone_head_down_is_unknown() {
    let upside_down = |time: f32| {
        let points = upright(100.0 + time * 110.0, 0.0, 0.0).map(|(joint, x, y)| (joint, x, 430.0 - y));
        person(points, 0.9)
    };
    assert!(after_a_while(upside_down).is_unknown());
}

#[test]
fn one_pose_is_not_a_behaviour() {
    let scene = Scene { frame: picture(8, 8, 0, [0; 3]), people: vec![person(upright(100.0, 0.0, 0.0), 0.9)] };
    assert!(classified([scene])[0].people[0].behaviour.as_ref().unwrap().is_unknown());
}

#[test]
fn each_person_has_a_window_of_their_own_and_a_scene_stays_one_sample() {
    let stride = |time: f32| 35.0 * (time * std::f32::consts::TAU).sin();
    let scenes: Vec<Scene> = (0..40)
        .map(|index| {
            let time = index as f32 * 0.04;
            let walks = person(upright(100.0 + time * 110.0, stride(time), -stride(time)), 0.9);
            let stands = Person { track: Some(2), ..person(upright(500.0, 0.0, 0.0), 0.9) };
            let unread = Person { pose: None, ..walks.clone() };
            let unknown = Person { track: None, ..stands.clone() };
            // The one who walks comes later, and is read in nine of ten pictures.
            let people = match index {
                0..5 => vec![stands],
                _ if index % 10 == 0 => vec![unread, stands],
                _ => vec![stands, unknown, walks],
            };
            Scene { frame: picture(8, 8, index, [0; 3]), people }
        })
        .collect();
    let classified = classified(scenes);
    let said = |scene: &Scene| -> Vec<Option<String>> {
        scene.people.iter().map(|person| Some(person.behaviour.as_ref()?.label.clone())).collect()
    };
    let words = |words: &[&str]| -> Vec<Option<String>> {
        words.iter().map(|word| (!word.is_empty()).then(|| (*word).to_owned())).collect()
    };
    assert_eq!(classified.len(), 40);
    assert!(classified.iter().enumerate().all(|(index, scene)| scene.frame.index == index as u64));
    assert_eq!(said(&classified[4]), words(&["unknown"]));
    assert_eq!(said(&classified[12]), words(&["standing", "", "unknown"]));
    assert_eq!(said(&classified[30]), words(&["", "standing"]));
    assert_eq!(said(&classified[39]), words(&["standing", "", "walking"]));
}
