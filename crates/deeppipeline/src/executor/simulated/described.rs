//! A simulation of a pipeline of which only the description is known: no stage runs, samples only take their time.

use super::Simulation;
use crate::error::GraphError;
use crate::executor::{Body, BodyFactory};
use crate::graph::{Block, Graph};
use crate::join::Joiner;
use crate::policies::Intake;
use crate::stage::Give;
use crate::typed::Value;
use crate::window::{Put, Window, WindowStore, account};
use crate::worker::{Call, Done, Windowed, WorkerId};

impl Simulation<()> {
    /// Makes a simulation of a description. Every stage gives one result for what it takes; where samples come from a
    /// source, they are [`put_at`](Simulation::put_at) the times at which the source has them, and a full buffer does
    /// what it does behind that source.
    ///
    /// # Errors
    /// The fault that makes the description invalid.
    pub fn of(mut graph: Graph) -> Result<Self, GraphError> {
        graph.overflow = Some(graph.default_overflow());
        graph.source = None;
        let joiner = |_: &Block| Box::new(|_| Box::new(()) as Value) as Joiner<Value>;
        let joiners = graph.blocks.iter().map(joiner).collect();
        let described = graph.clone();
        Simulation::assembled(graph, joiners, |workers| {
            workers.iter().map(|worker| Passing::factory(&described, worker.worker_id())).collect()
        })
    }
}

/// The body of a worker in the place of a stage: it hands on what it gets.
#[derive(Default)]
struct Passing {
    /// The number of branches, where it is the node in front of them.
    branches: Option<usize>,
    window: Option<WindowStore<(), ()>>,
    windowed: Windowed,
}

impl Passing {
    fn factory(graph: &Graph, worker: WorkerId) -> BodyFactory<Value> {
        let mut passing = Passing::default();
        if let WorkerId::Stage { index, .. } = worker {
            passing.branches = graph.blocks.iter().find(|block| block.fork == index).map(|block| block.branches.len());
            if let Intake::Window { size, stride } = graph.stages[index].intake {
                passing.window = Some(WindowStore::new(Window::new(size).stride(stride)));
            }
        }
        Box::new(move || Box::new(passing))
    }

    fn run(&mut self) -> Done<Value> {
        let put = self.window.as_mut().map(|window| {
            let left_out = window.begin();
            let (put, forgotten) = window.put((), ());
            self.windowed = account(put, left_out + forgotten);
            put
        });
        match (put, self.branches) {
            (Some(Put::Windowed), _) => Done::Windowed,
            (Some(Put::Skipped), _) => Done::Gave(Give::Skip),
            (Some(Put::Due { .. }) | None, None) => Done::Gave(Give::One(Box::new(()))),
            (Some(Put::Due { .. }) | None, Some(branches)) => {
                Done::Gave(Give::many((0..branches).map(|_| Box::new(()) as Value)))
            }
        }
    }
}

impl Body<Value> for Passing {
    fn call(&mut self, call: Call<Value>) -> Done<Value> {
        match call {
            Call::StageRun(_) | Call::RunAgain(_) => self.run(),
            Call::Setup | Call::Finish | Call::Teardown => Done::Gave(Give::Skip),
            Call::SourceNext => Done::Exhausted,
        }
    }

    fn windowed(&mut self) -> Windowed {
        std::mem::take(&mut self.windowed)
    }
}
