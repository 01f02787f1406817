//! The threads of a pipeline's workers, or of what watches over their processes: at the start, and while it runs.

use super::Pipeline;
use crate::aside;
use crate::builder::Plan;
use crate::error::{ScaleError, StartError};
use crate::executor::{BodyFactory, thread};
use crate::supervisor::{Supervisor, Waiting};
use crate::typed::Value;
use crate::worker::{Values, Worker, WorkerId};
#[cfg(processes)]
use crate::{
    executor::process::{Driver, WorkerProcess},
    isolated::{IsolatedStage, check_that_main_begins_with_worker, drive},
    supervisor::Codecs,
};
use std::convert::Infallible;
#[cfg(processes)]
use std::ffi::OsString;
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

/// A thread of the pipeline's own process that is to be started.
pub(super) struct Job {
    pub(super) worker_id: WorkerId,
    pub(super) name: String,
    start: Box<dyn FnOnce() -> io::Result<JoinHandle<()>>>,
}

impl Job {
    fn of_thread(worker: Worker<Value>, factory: BodyFactory<Value>) -> Self {
        let (worker_id, name) = (worker.worker_id(), worker.name().to_owned());
        Job { worker_id, name, start: Box::new(move || thread::spawn(worker, factory)) }
    }

    #[cfg(processes)]
    fn of_process(process: WorkerProcess<Value>, arguments: Arc<[OsString]>) -> Self {
        let (worker_id, name) = (process.worker_id(), process.name().to_owned());
        let thread = std::thread::Builder::new().name(name.replace('\0', ""));
        Job { worker_id, name, start: Box::new(move || thread.spawn(move || drive(process, &arguments))) }
    }
}

/// What is to be driven on a thread.
#[cfg(processes)]
type Driven = Driver<Value>;
#[cfg(not(processes))]
type Driven = Worker<Value>;

/// The jobs of workers that join a stage later: what they run.
pub(super) struct Jobs {
    plan: Plan,
    #[cfg(processes)]
    worker_arguments: Arc<[OsString]>,
}

/// A pipeline, the jobs with which it begins, and those to come.
type Begun = (Arc<Supervisor<Value>>, Vec<Job>, Jobs);

impl Jobs {
    #[cfg(not(processes))]
    pub(super) fn of(mut plan: Plan) -> Result<Begun, StartError> {
        let may_scale = may_scale(&plan);
        let (supervisor, workers) = Supervisor::new(std::mem::take(&mut plan.graph))?;
        Ok(Jobs { plan }.begin(supervisor, workers, &may_scale))
    }

    #[cfg(processes)]
    pub(super) fn of(mut plan: Plan) -> Result<Begun, StartError> {
        if plan.isolated.iter().any(Option::is_some) {
            check_that_main_begins_with_worker()?;
        }
        let codecs = plan.isolated.iter().map(|stage| {
            let IsolatedStage { input, output, .. } = stage.as_ref()?;
            Some(Codecs { input: Arc::clone(input), output: Arc::clone(output) })
        });
        let codecs = codecs.collect();
        let may_scale = may_scale(&plan);
        let (supervisor, drivers) = Supervisor::with_processes(std::mem::take(&mut plan.graph), codecs)?;
        let worker_arguments = std::mem::take(&mut plan.worker_arguments).into();
        Ok(Jobs { plan, worker_arguments }.begin(supervisor, drivers, &may_scale))
    }

    fn begin(mut self, supervisor: Arc<Supervisor<Value>>, drivers: Vec<Driven>, may_scale: &[bool]) -> Begun {
        for (source, closer) in std::mem::take(&mut self.plan.closers).into_iter().enumerate() {
            supervisor.set_closer(source, closer);
        }
        supervisor.set_blocks(std::mem::take(&mut self.plan.fork_joins));
        let jobs = drivers.into_iter().map(|driver| self.job(driver, None)).collect();
        self.plan.keep_stages(may_scale);
        (supervisor, jobs, self)
    }

    #[cfg(not(processes))]
    fn job(&mut self, worker: Worker<Value>, made_of: Option<Values>) -> Job {
        self.of_thread(worker, made_of)
    }

    #[cfg(processes)]
    fn job(&mut self, driver: Driver<Value>, made_of: Option<Values>) -> Job {
        match driver {
            Driver::Process(mut process) => {
                let stage = self.plan.isolated.get(process.stage()).and_then(Option::as_ref);
                process.set_init_payload(stage.map(|stage| stage.init_payload.clone()).unwrap_or_default());
                Job::of_process(process, Arc::clone(&self.worker_arguments))
            }
            Driver::Thread(worker) => self.of_thread(worker, made_of),
        }
    }

    /// A job that makes the stage, or what that was replaced with.
    fn of_thread(&mut self, worker: Worker<Value>, made_of: Option<Values>) -> Job {
        let factory = self.plan.factory(worker.role());
        let Some(made_of) = made_of else { return Job::of_thread(worker, factory) };
        let replaced = move || {
            let mut body = factory();
            body.make_of(made_of);
            body
        };
        Job::of_thread(worker, Box::new(replaced))
    }
}

/// Says of each stage whether workers may join it later.
fn may_scale(plan: &Plan) -> Vec<bool> {
    plan.graph.stages.iter().map(|node| node.most_workers() > 1).collect()
}

impl<I, T> Pipeline<I, T> {
    pub(super) fn begin(&self, Job { worker_id, start, .. }: Job) -> io::Result<()> {
        let thread = start()?;
        self.threads.lock().push((worker_id, thread));
        Ok(())
    }

    /// Gives a stage that many workers while it runs, at most its
    /// [`max_workers`](crate::builder::Described::max_workers). Those that join it are set up, and only then take samples;
    /// those with the highest indexes leave it before their next sample: what they give in
    /// [`finish`](crate::Stage::finish) goes on, and then comes their `teardown`. Nothing is lost, and the order is kept.
    /// Returns when all that has happened.
    ///
    /// A worker that joins is told what the others were told by [`update`](Pipeline::update), so a stage that may have
    /// several workers keeps these changes. One that fails in `setup` ends those that joined with it, and the stage goes on
    /// with the workers that it had.
    ///
    /// ```
    /// use deeppipeline::{Pipeline, made_by};
    ///
    /// let detect = made_by(|| Ok(|frame: u32| frame * 2)).name("detect").workers(1).max_workers(4);
    /// let pipeline = Pipeline::builder().stage(detect).end_stage(|found: u32| println!("{found}")).start()?;
    /// pipeline.scale("detect", 4)?;
    /// assert_eq!(pipeline.report().stages[0].workers, 4);
    /// pipeline.scale("detect", 2)?;
    /// # pipeline.setstop()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// See [`ScaleError`].
    pub fn scale(&self, stage: &str, workers: usize) -> Result<(), ScaleError> {
        self.scaled(stage, workers, None)
    }

    /// Works like [`scale`](Pipeline::scale), but waits for the workers no longer than that.
    ///
    /// # Errors
    /// As `scale`, and [`ScaleError::Timeout`], or [`ScaleError::NotBegun`] where nothing was changed.
    pub fn scale_timeout(&self, stage: &str, workers: usize, timeout: Duration) -> Result<(), ScaleError> {
        self.scaled(stage, workers, Some(timeout))
    }

    fn scaled(&self, stage: &str, workers: usize, timeout: Option<Duration>) -> Result<(), ScaleError> {
        let note = |waiting| {
            if let Waiting::For(busy) = waiting {
                aside::log(move || tracing::info!("the change of workers waits for {busy}"));
            }
            Ok::<_, Infallible>(())
        };
        let Ok(begun) = self.supervisor.scale(stage, workers, timeout, note);
        let (scaling, joining) = begun?;
        // The handles of those that have left tell nothing any more.
        self.threads.lock().retain(|(_, thread)| !thread.is_finished());
        for driver in joining {
            let job = self.jobs.lock().job(driver, scaling.made_of().cloned());
            // One that gets no thread has failed, which is heard below.
            let _ = self.begin(job);
        }
        let Ok(outcome) = self.supervisor.wait_scaled(&scaling, note);
        outcome
    }
}
