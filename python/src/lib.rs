//! The binding between the engine and the Python package `DeepPipeline`. It has no logic of its own: it turns Python
//! objects into payloads, errors into exceptions, and lets go of the interpreter in every wait.

mod answers;
mod change;
mod dashboard;
mod discarded;
mod engine;
mod fates;
mod frame;
mod job;
mod native;
mod payload;
mod putting;
mod report;
mod scaling;
mod scene;
mod simulate;
#[cfg(processes)]
mod slot;
mod ticket;
mod tuple;
mod window;
mod worker;
#[cfg(processes)]
mod worker_process;

use pyo3::prelude::*;

/// Keeps an object alive, and whatever it leads to, until the process ends.
#[pyfunction]
fn keep_for_ever(object: Py<PyAny>) {
    std::mem::forget(object);
}

#[pymodule]
fn _engine(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(keep_for_ever, module)?)?;
    module.add("DEFAULT_BUFFER_SIZE", deeppipeline::builder::DEFAULT_BUFFER_SIZE)?;
    module.add("DEFAULT_RECORD", deeppipeline::report::DEFAULT_RECORD)?;
    module.add("MOST_RECORD", deeppipeline::report::MOST_RECORD)?;
    module.add("MAX_WORKERS", deeppipeline::builder::MAX_WORKERS)?;
    module.add("GRACE", deeppipeline::pipeline::GRACE.as_secs_f64())?;
    module.add_class::<engine::Engine>()?;
    module.add_function(wrap_pyfunction!(simulate::simulate, module)?)?;
    module.add_function(wrap_pyfunction!(change::update, module)?)?;
    module.add_function(wrap_pyfunction!(change::replace, module)?)?;
    module.add_function(wrap_pyfunction!(change::place_of_stage, module)?)?;
    module.add_function(wrap_pyfunction!(scaling::scale, module)?)?;
    module.add_class::<scaling::Scaling>()?;
    module.add_class::<answers::NoResult>()?;
    module.add_class::<dashboard::Dashboard>()?;
    module.add_class::<discarded::Discarded>()?;
    module.add_class::<engine::Started>()?;
    module.add_class::<engine::Notice>()?;
    module.add_class::<worker::Worker>()?;
    module.add_class::<worker::FailureEvent>()?;
    #[cfg(processes)]
    {
        module.add_class::<worker_process::WorkerProcess>()?;
        module.add_class::<worker_process::News>()?;
        module.add_class::<worker_process::Console>()?;
        module.add_class::<slot::SlotView>()?;
        module.add_class::<worker_process::Lifeline>()?;
        module.add_function(wrap_pyfunction!(worker_process::left_to_the_program, module)?)?;
        module.add_function(wrap_pyfunction!(worker_process::leave_to_the_program, module)?)?;
    }
    module.add_class::<native::NativeStage>()?;
    module.add_class::<native::NativeCapture>()?;
    module.add_function(wrap_pyfunction!(native::vision_warnings, module)?)?;
    module.add_class::<frame::Frame>()?;
    module.add_class::<scene::Scene>()?;
    module.add_class::<scene::Person>()?;
    module.add_class::<report::Explanation>()?;
    module.add_class::<report::Report>()?;
    module.add_class::<report::Timeline>()?;
    module.add_class::<report::Prediction>()?;
    module.add_class::<report::Tuned>()?;
    module.add_class::<report::TimelineStage>()?;
    module.add_class::<report::Visit>()?;
    module.add_class::<report::Mark>()?;
    module.add_class::<report::Recent>()?;
    module.add_class::<report::Shares>()?;
    module.add_class::<report::StageReport>()?;
    module.add_class::<report::WorkerReport>()?;
    module.add_class::<report::SourceReport>()?;
    module.add_class::<report::JoinReport>()?;
    module.add_class::<report::BufferCounts>()?;
    module.add_class::<report::StageCounts>()?;
    module.add_class::<report::JoinCounts>()?;
    module.add_class::<report::SampleId>()?;
    module.add_class::<ticket::Ticket>()?;
    module.add_class::<job::Job>()?;
    module.add_class::<putting::Putting>()?;
    module.add_function(wrap_pyfunction!(putting::next_wakes, module)?)?;
    module.add_class::<report::Spread>()?;
    module.add_class::<window::WindowStore>()?;
    module.add_function(wrap_pyfunction!(job::cancelled, module)?)?;
    module.add_function(wrap_pyfunction!(job::worker_index, module)?)?;
    module.add_function(wrap_pyfunction!(job::restarted, module)?)?;
    module.add_function(wrap_pyfunction!(job::current_sample, module)?)
}
