//! A pipeline on a virtual clock: what its buffers would do with samples that come and take their time as told.

use crate::engine::{PipelineDescription, graph_error};
use crate::report::Report;
use deeppipeline::simulate::Simulation;
use pyo3::prelude::*;
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

/// The time that samples take in a stage.
#[derive(FromPyObject)]
pub(crate) enum Takes {
    Seconds(f64),
    /// A function from the number of a sample to seconds.
    Of(Py<PyAny>),
}

/// Simulates what is described: `durations` by the names of stages, samples that arrive at these times, by the name of
/// the entrance where entrances have names, flushes of all or of one of these, pauses: the stage, or none for the entrance,
/// from when to when, and scalings: the stage, when, and the number of its workers from then on.
#[pyfunction]
pub(crate) fn simulate(
    py: Python<'_>,
    description: PipelineDescription,
    durations: Vec<(String, Takes)>,
    arrivals: Vec<(Option<String>, Vec<f64>)>,
    flushes: Vec<(Option<String>, f64)>,
    pauses: Vec<(Option<String>, f64, f64)>,
    scalings: Vec<(String, f64, usize)>,
) -> PyResult<Report> {
    let mut simulation = Simulation::of(description.graph()?).map_err(graph_error)?;

    // The simulation asks for a duration where no error can come back: the first is kept, and raised after that step.
    let raised = Rc::new(RefCell::new(None));
    for (stage, takes) in durations {
        let told = match takes {
            Takes::Seconds(seconds) => simulation.takes(&stage, duration(seconds)),
            Takes::Of(function) => {
                let raised = Rc::clone(&raised);
                simulation.takes_by(&stage, move |sample| {
                    let seconds = Python::attach(|py| function.call1(py, (sample.number,))?.extract::<f64>(py));
                    seconds.map(duration).unwrap_or_else(|error| {
                        raised.borrow_mut().get_or_insert(error);
                        Duration::ZERO
                    })
                })
            }
        };
        told.map_err(graph_error)?;
    }

    for (entrance, times) in arrivals {
        for time in times.into_iter().map(duration) {
            match &entrance {
                Some(name) => drop(simulation.put_into_at(time, name, ()).map_err(graph_error)?),
                None => drop(simulation.put_at(time, ())),
            }
        }
    }

    for (source, flush) in flushes {
        match &source {
            Some(source) => drop(simulation.flush_source_at(duration(flush), source).map_err(graph_error)?),
            None => drop(simulation.flush_at(duration(flush))),
        }
    }

    for (stage, from, until) in pauses {
        let (from, until) = (duration(from), duration(until));
        match &stage {
            None => drop(simulation.pause_at(from).resume_at(until)),
            Some(stage) => {
                let paused = simulation.pause_stage_at(from, stage);
                paused.and_then(|paused| paused.resume_stage_at(until, stage)).map_err(graph_error)?;
            }
        }
    }

    for (stage, at, workers) in scalings {
        simulation.scale_at(duration(at), &stage, workers).map_err(graph_error)?;
    }

    while simulation.step().is_some() {
        if let Some(error) = raised.borrow_mut().take() {
            return Err(error);
        }
        py.check_signals()?;
    }
    Ok(Report(simulation.report()))
}

/// A number of seconds that the package has checked. The virtual clock ends where no sum of durations may be too long.
fn duration(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
}
