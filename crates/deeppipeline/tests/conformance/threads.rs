//! The thread executor, made to follow the simulated order.

use crate::case::Case;
use crate::follow::{Follower, Joining, graph};
use crate::simulated::Run;
#[cfg(processes)]
use deeppipeline::engine::Driver;
use deeppipeline::engine::Supervisor;
use std::thread::JoinHandle;

/// Follows the simulated run with threads, and says what came out.
pub(crate) fn follow(case: &Case, simulated: &Run) -> String {
    let (supervisor, workers) = Supervisor::<i64>::new(graph(case)).unwrap();
    let follower = Follower::new(case, supervisor, start);
    let threads = workers.into_iter().map(|worker| follower.spawn(worker)).collect();
    follower.follow(simulated, threads)
}

/// Starts a worker that joins a stage.
fn start(follower: &Follower<'_>, joining: Joining) -> JoinHandle<()> {
    #[cfg(processes)]
    let Driver::Thread(joining) = joining else { unreachable!("every stage is on threads here") };
    follower.spawn(joining)
}
