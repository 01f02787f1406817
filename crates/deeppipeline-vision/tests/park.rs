//! The whole chain on the clip that is shipped: who is seen, and what they do.

mod support;

use deeppipeline::{Pipeline, stage};
use deeppipeline_vision::{Capture, ClassifyBehaviour, DetectPeople, Draw, EstimatePose, Track};
use support::{model, park, run};

#[test]
fn a_man_stands_on_a_wall_and_a_woman_walks_past() {
    let classify = ClassifyBehaviour::load(model("pose_classifier_body18.onnx")).unwrap();
    let scenes = Pipeline::builder()
        .source(Capture::options(park()).limit(90).open().unwrap())
        .stage(DetectPeople::load(model("nanodet_416.onnx")).unwrap())
        .stage(Track::new())
        .stage(EstimatePose::load(model("movenet_lightning_192.onnx")).unwrap())
        .stage(stage(classify).intake(ClassifyBehaviour::window().by_keys(ClassifyBehaviour::sights)))
        .stream()
        .unwrap();
    let mut draw = Draw::new();
    let (mut man, mut woman) = (Vec::new(), Vec::new());
    for scene in scenes {
        let scene = scene.unwrap();
        let before = scene.frame.clone();
        let scene = run(&mut draw, scene);
        assert!(scene.people.is_empty() || scene.frame != before, "nothing was drawn");
        for person in scene.people {
            let (x, y) = person.bounds.center();
            let seen = (person.track.unwrap(), person.behaviour.unwrap().label);
            if y < 400.0 && (400.0..800.0).contains(&x) {
                man.push(seen);
            } else if y > 600.0 {
                woman.push(seen);
            }
        }
    }
    let numbers = |seen: &[(u64, String)]| {
        let mut numbers: Vec<u64> = seen.iter().map(|(number, _)| *number).collect();
        numbers.dedup();
        numbers
    };
    let share = |seen: &[(u64, String)], label: &str| {
        seen.iter().filter(|(_, said)| said == label).count() as f32 / seen.len() as f32
    };
    assert!(man.len() > 70 && woman.len() > 35, "{} and {} sights", man.len(), woman.len());
    assert_eq!(numbers(&man), [1]);
    assert_eq!(numbers(&woman).last(), numbers(&woman).first(), "{:?}", numbers(&woman));
    assert!(share(&man, "standing") > 0.6 && share(&man, "walking") < 0.1, "{man:?}");
    assert!(share(&woman, "walking") > 0.5 && share(&woman, "standing") < 0.1, "{woman:?}");
}
