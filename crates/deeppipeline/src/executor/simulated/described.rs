//! A simulation of a pipeline of which only the description is known: no stage runs, samples only take their time.

use super::Simulation;
use crate::cuts::SourceCut;
use crate::error::GraphError;
use crate::executor::{Body, BodyFactory};
use crate::graph::{Block, Graph};
use crate::parallel::{ForkJoin, Forker, Router};
use crate::policies::Intake;
use crate::sample::Input;
use crate::stage::Give;
use crate::typed::Value;
use crate::window::{Put, Window, WindowStore, account};
use crate::worker::{Call, Done, Windowed};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

impl Simulation<()> {
    /// Makes a simulation of a description. Every stage gives one result for what it takes, or for each of a batch; where
    /// samples come from a source, they are [`put_at`](Simulation::put_at) the times at which the source has them, or
    /// [`put_into_at`](Simulation::put_into_at) where sources have names, and a full buffer does what it does behind that
    /// source.
    ///
    /// # Errors
    /// The fault that makes the description invalid.
    pub fn of(graph: Graph) -> Result<Self, GraphError> {
        let gives_nothing = graph.stages.iter().map(|_| Vec::new()).collect();
        Simulation::of_with(graph, gives_nothing)
    }

    /// Makes one in which each stage gives nothing for some samples: one list per stage, which its samples go through one after
    /// the other, again and again.
    pub(crate) fn of_with(mut graph: Graph, gives_nothing: Vec<Vec<bool>>) -> Result<Self, GraphError> {
        if !graph.entrances.is_empty() {
            let layout = graph.layout()?;
            graph.entrances.iter_mut().for_each(|entrance| entrance.overflow = Some(layout.overflow_of(entrance)));
        }
        graph.overflow = Some(graph.default_overflow());
        graph.source = None;
        graph.fates = false;
        graph.entrances.iter_mut().for_each(|entrance| entrance.source = None);
        let copies = || -> Forker<Value> { Box::new(|_, copies| (0..copies).map(|_| Box::new(()) as Value).collect()) };
        // Which way a sample goes, its value would say: here they take turns.
        let in_turn = |branches: usize| -> Router<Value> {
            let next = AtomicUsize::new(0);
            Box::new(move |value| Ok((next.fetch_add(1, Ordering::Relaxed) % branches, value)))
        };
        let fork_join = |block: &Block| ForkJoin {
            fork: copies(),
            route: block.routed.then(|| in_turn(block.branches.len())),
            join: Box::new(|_| Box::new(())),
            copy: block.branches.iter().skip(1).map(|_| copies()).collect(),
            // How many parts there are, only the stage knows that splits: here one.
            parts: Some((Box::new(|whole| Ok((whole, vec![Box::new(())]))), Box::new(|whole, _| whole))),
        };
        let fork_joins = graph.blocks.iter().map(fork_join).collect();
        let intakes: Vec<Intake> = graph.stages.iter().map(|node| node.intake).collect();
        let shared = |samples: Vec<bool>| Arc::new(InTurn { samples, next: AtomicUsize::new(0) });
        let gives_nothing: Vec<_> = gives_nothing.into_iter().map(shared).collect();
        Simulation::assembled(graph, fork_joins, move |role| match role.stage() {
            Some(stage) => Passing::factory(intakes[stage], Arc::clone(&gives_nothing[stage])),
            None => Passing::factory(Intake::Single, Arc::default()),
        })
    }
}

/// Whether a stage gives nothing for a sample, for one after the other, again and again; its workers share it.
#[derive(Default)]
struct InTurn {
    samples: Vec<bool>,
    next: AtomicUsize,
}

impl InTurn {
    fn next(&self) -> bool {
        let place = self.next.fetch_add(1, Ordering::Relaxed).checked_rem(self.samples.len());
        place.is_some_and(|place| self.samples[place])
    }
}

/// The body of a worker in the place of a stage: it hands on what it gets.
struct Passing {
    window: Option<WindowStore<(), ()>>,
    windowed: Windowed,
    /// True if it gives a result for each sample of a list.
    gives_each: bool,
    gives_nothing: Arc<InTurn>,
}

impl Passing {
    fn factory(intake: Intake, gives_nothing: Arc<InTurn>) -> BodyFactory<Value> {
        let mut window = None;
        if let Intake::Window { size, stride } = intake {
            window = Some(WindowStore::new(Window::new(size).stride(stride)));
        }
        Box::new(move || {
            let gives_each = intake.keeps_identity();
            Box::new(Passing { window, windowed: Windowed::default(), gives_each, gives_nothing })
        })
    }

    fn give(&self) -> Give<Value> {
        match self.gives_nothing.next() {
            true => Give::Skip,
            false => Give::One(Box::new(())),
        }
    }

    fn run(&mut self) -> Done<Value> {
        let put = self.window.as_mut().map(|window| {
            let left_out = window.begin();
            let (put, forgotten) = window.put((), ());
            self.windowed = account(put, left_out + forgotten);
            put
        });
        match put {
            Some(Put::Windowed) => Done::Windowed,
            Some(Put::Skipped) => Done::Gave(Give::Skip),
            Some(Put::Due { .. }) | None => Done::Gave(Give::One(Box::new(()))),
        }
    }
}

impl Body<Value> for Passing {
    fn call(&mut self, call: Call<Value>) -> Done<Value> {
        match call {
            Call::StageRun(Input::List(list)) if self.gives_each => {
                Done::Each(list.iter().map(|_| Ok(self.give())).collect())
            }
            Call::StageRun(_) if self.window.is_none() => Done::Gave(self.give()),
            Call::StageRun(_) | Call::RunAgain(_) | Call::RunAlone(..) => self.run(),
            Call::Setup
            | Call::Update(_)
            | Call::Prepare(_)
            | Call::Exchange
            | Call::Discard
            | Call::Finish
            | Call::Teardown => Done::Gave(Give::Skip),
            Call::SourceOpen | Call::SourceNext => Done::Exhausted,
        }
    }

    fn forget_windows(&mut self) {
        if let Some(window) = &mut self.window {
            window.forget();
        }
    }

    fn forget_sources(&mut self, cuts: &[SourceCut]) -> u64 {
        self.window.as_mut().map_or(0, |window| window.forget_sources(cuts))
    }

    fn windowed(&mut self) -> Windowed {
        std::mem::take(&mut self.windowed)
    }
}
