//! The thread executor, made to follow the simulated order.

use crate::case::Case;
use crate::follow::{Follower, graph};
use crate::simulated::Run;
use deeppipeline::engine::Supervisor;

/// Follows the simulated run with threads, and says what came out.
pub(crate) fn follow(case: &Case, simulated: &Run) -> String {
    let (supervisor, workers) = Supervisor::<i64>::new(graph(case)).unwrap();
    let follower = Follower::new(case, supervisor);
    let threads = workers.into_iter().map(|worker| follower.spawn(worker)).collect();
    follower.follow(simulated, threads)
}
