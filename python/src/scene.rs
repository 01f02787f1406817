//! The knowledge about the people in one picture, as Python sees it.

use crate::frame::Frame;
use deeppipeline_vision as vision;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyList;

/// A picture and the people in it. Both may be changed; what a stage gives on is what stands here then.
#[pyclass(module = "DeepPipeline.vision")]
pub(crate) struct Scene {
    /// The picture.
    #[pyo3(get, set)]
    frame: Py<Frame>,
    /// The people found in it.
    #[pyo3(get, set)]
    people: Py<PyList>,
}

#[pymethods]
impl Scene {
    #[new]
    fn new(frame: Py<Frame>, people: Py<PyList>) -> Self {
        Scene { frame, people }
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> (Bound<'py, PyAny>, (Py<Frame>, Py<PyList>)) {
        (py.get_type::<Self>().into_any(), (self.frame.clone_ref(py), self.people.clone_ref(py)))
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        Ok(format!("<Scene of frame {}: {} people>", self.frame.get().inner.index, self.people.bind(py).len()))
    }
}

impl Scene {
    pub(crate) fn wrap(py: Python<'_>, scene: vision::Scene) -> PyResult<Self> {
        let people = scene.people.into_iter().map(Person::from).map(|person| Py::new(py, person));
        let people = PyList::new(py, people.collect::<PyResult<Vec<_>>>()?)?;
        Ok(Scene { frame: Py::new(py, Frame::from(scene.frame))?, people: people.unbind() })
    }

    pub(crate) fn unwrap(&self, py: Python<'_>) -> PyResult<vision::Scene> {
        let mut scene = vision::Scene::new(self.frame.get().inner.clone());
        for entry in self.people.bind(py) {
            let Ok(person) = entry.cast::<Person>() else {
                let kind = entry.get_type().name()?;
                return Err(PyTypeError::new_err(format!(
                    "people holds a {kind}, but must be a list of vision.Person"
                )));
            };
            scene.people.push(person.borrow().unwrap()?);
        }
        Ok(scene)
    }
}

/// Bounds, score, track, behaviour and pose.
type Fields = ((f32, f32, f32, f32), f32, Option<u64>, Option<(String, f32)>, Option<Vec<(f32, f32, f32)>>);

/// One person in a picture.
#[pyclass(module = "DeepPipeline.vision")]
pub(crate) struct Person {
    /// Left, top, right, bottom, in pixels.
    #[pyo3(get, set)]
    bounds: (f32, f32, f32, f32),
    /// The confidence of the detector, 0 to 1.
    #[pyo3(get, set)]
    score: f32,
    /// The number that stays with the person from picture to picture.
    #[pyo3(get, set)]
    track: Option<u64>,
    /// The behaviour of the person, and the confidence in it, 0 to 1.
    #[pyo3(get, set)]
    behaviour: Option<(String, f32)>,
    /// 17 keypoints in COCO's order: x and y in pixels, and a score, 0 to 1.
    #[pyo3(get, set)]
    pose: Option<Vec<(f32, f32, f32)>>,
}

#[pymethods]
impl Person {
    #[new]
    #[pyo3(signature = (bounds, score, track = None, behaviour = None, pose = None))]
    fn new(
        bounds: (f32, f32, f32, f32),
        score: f32,
        track: Option<u64>,
        behaviour: Option<(String, f32)>,
        pose: Option<Vec<(f32, f32, f32)>>,
    ) -> Self {
        Person { bounds, score, track, behaviour, pose }
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> (Bound<'py, PyAny>, Fields) {
        let fields = (self.bounds, self.score, self.track, self.behaviour.clone(), self.pose.clone());
        (py.get_type::<Self>().into_any(), fields)
    }

    fn __repr__(&self) -> String {
        let track = self.track.map_or("no track".to_owned(), |track| format!("track {track}"));
        let behaviour = self.behaviour.as_ref().map_or("", |(label, _)| label);
        format!("<Person {track} score={:.2} {behaviour}>", self.score)
    }
}

impl From<vision::Person> for Person {
    fn from(person: vision::Person) -> Self {
        let vision::Bounds { left, top, right, bottom } = person.bounds;
        Person {
            bounds: (left, top, right, bottom),
            score: person.score,
            track: person.track,
            behaviour: person.behaviour.map(|behaviour| (behaviour.label, behaviour.score)),
            pose: person.pose.map(|pose| pose.keypoints.iter().map(|point| (point.x, point.y, point.score)).collect()),
        }
    }
}

impl Person {
    fn unwrap(&self) -> PyResult<vision::Person> {
        let (left, top, right, bottom) = self.bounds;
        let mut person = vision::Person::new(vision::Bounds { left, top, right, bottom }, self.score);
        person.track = self.track;
        person.behaviour = self.behaviour.clone().map(|(label, score)| vision::Behaviour { label, score });
        if let Some(points) = &self.pose {
            let points: Vec<_> = points.iter().map(|&(x, y, score)| vision::Keypoint { x, y, score }).collect();
            let keypoints = points.try_into().map_err(|points: Vec<_>| {
                PyValueError::new_err(format!(
                    "pose has {} keypoints, but must have {}",
                    points.len(),
                    vision::Joint::COUNT
                ))
            })?;
            person.pose = Some(vision::Pose { keypoints });
        }
        Ok(person)
    }
}
