//! Stages in processes of their own; on Linux, with the feature `processes`.

use super::{Bodies, Builder};
use crate::error::GraphError;
use crate::gives::Ended;
use crate::graph::{Executor, Node};
use crate::intake::Intake;
use crate::isolated::{Isolated, IsolatedStage, IsolatedWindows, Takes, body, last, last_by_key};
use crate::stage::short_type_name;
use crate::transfer::Transfer;
use crate::transfer::wire::to_readable_bytes;
use crate::typed::{Unpack, list, one};
use crate::window::Window;
use std::time::Duration;

impl<I, T> Builder<I, T> {
    /// Sets what the command line of worker processes has behind the program's name; nothing otherwise. Of use where
    /// `main` is not one's own, as in tests. It says how this program's workers are started, and changes nothing where
    /// there are none.
    pub fn worker_arguments<A: Into<std::ffi::OsString>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.worker_arguments = arguments.into_iter().map(Into::into).collect();
        self
    }
}

/// Stages in processes of their own; on Linux, with the feature `processes`.
impl<I, T: Send + 'static> Builder<I, T> {
    /// Adds a stage in a process of its own, where it is made from these settings; it takes the oldest waiting sample.
    /// See [`Isolated`].
    pub fn stage_isolated<S>(self, settings: S::Settings) -> Builder<I, S::Output>
    where
        S: Isolated<Input = T, Output: Transfer>,
        T: Transfer,
    {
        self.add_isolated::<S, _>(&settings, Intake::Single, Takes::One, || one::<T>)
    }

    /// Works like [`stage_isolated`](Builder::stage_isolated), for a stage that takes the newest waiting sample.
    pub fn stage_isolated_latest<S>(self, settings: S::Settings) -> Builder<I, S::Output>
    where
        S: Isolated<Input = T, Output: Transfer>,
        T: Transfer,
    {
        self.add_isolated::<S, _>(&settings, Intake::Latest, Takes::One, || one::<T>)
    }

    /// Works like [`stage_isolated`](Builder::stage_isolated), for a stage that takes a list of `buffer_size` samples.
    pub fn stage_isolated_all<S>(self, settings: S::Settings) -> Builder<I, S::Output>
    where
        S: Isolated<Input = Vec<T>, Output: Transfer>,
        T: Transfer,
    {
        self.add_isolated::<S, _>(&settings, Intake::All, Takes::Lists, || list::<T>)
    }

    /// Adds the last stage, in a process of its own; what it gives back is ignored.
    pub fn end_stage_isolated<S>(self, settings: S::Settings) -> Builder<I, Ended>
    where
        S: Isolated<Input = T, Output: Transfer>,
        T: Transfer,
    {
        self.stage_isolated::<S>(settings).retyped()
    }

    /// Works like [`stage_isolated`](Builder::stage_isolated), for a stage that takes batches, see
    /// [`stage_batch`](Builder::stage_batch).
    pub fn stage_isolated_batch<S>(
        self,
        max_size: usize,
        max_wait: Duration,
        settings: S::Settings,
    ) -> Builder<I, S::Output>
    where
        S: Isolated<Input = Vec<T>, Output: Transfer>,
        T: Transfer,
    {
        self.add_isolated::<S, _>(&settings, Intake::Batch { max_size, max_wait }, Takes::Lists, || list::<T>)
    }

    /// Works like [`stage_isolated`](Builder::stage_isolated), for a stage that takes a list of the last samples, see
    /// [`stage_window`](Builder::stage_window). Its process keeps the window, and starts with an empty one after a
    /// crash.
    pub fn stage_isolated_window<S>(mut self, window: Window, settings: S::Settings) -> Builder<I, S::Output>
    where
        S: Isolated<Input = Vec<T>, Output: Transfer>,
        T: Transfer + Clone,
    {
        self.check_keys(window);
        let Window { size, stride, .. } = window;
        let takes = Takes::Window(window);
        self.add_isolated::<S, _>(&settings, Intake::Window { size, stride }, takes, move || last::<T>(window))
    }

    /// Works like [`stage_isolated`](Builder::stage_isolated), for a stage that keeps a window for each of many keys in
    /// one sample, see [`stage_windows`](Builder::stage_windows) and [`IsolatedWindows`]. Its process keeps the
    /// windows, and starts with empty ones after a crash.
    pub fn stage_isolated_windows<S>(mut self, window: Window, settings: S::Settings) -> Builder<I, S::Output>
    where
        S: IsolatedWindows<Sample = T, Output: Transfer>,
        T: Transfer,
    {
        self.check_keys(window);
        let Window { size, stride, .. } = window;
        let takes = Takes::Windows(window);
        self.add_isolated::<S, _>(&settings, Intake::Window { size, stride }, takes, move || last_by_key::<S>(window))
    }

    fn add_isolated<S, U>(
        mut self,
        settings: &S::Settings,
        intake: Intake,
        takes: Takes,
        unpack: impl Fn() -> U + Copy + Send + 'static,
    ) -> Builder<I, S::Output>
    where
        S: Isolated<Output: Transfer>,
        T: Transfer,
        U: Unpack<S::Input>,
    {
        let name = short_type_name::<S>();
        let settings = to_readable_bytes(settings);
        let isolated = settings.and_then(|settings| {
            let stage = IsolatedStage::new::<S, T>(&settings, takes)?;
            Ok((stage, settings))
        });
        match isolated {
            Ok((isolated, settings)) => {
                // On a virtual clock it runs here.
                self.bodies.push(Bodies::Each(Box::new(move || body::<S, U>(settings.clone(), unpack))));
                self.isolated.push(Some(isolated));
            }
            Err(cause) => {
                let problem = GraphError::Settings { stage: name.clone(), cause: cause.to_string() };
                self.problem.get_or_insert(problem);
            }
        }
        self.graph.stages.push(Node { intake, executor: Executor::Process, is_made: true, ..Node::new(name) });
        self.retyped()
    }
}
