//! What is told when it happens, while nobody asks.

mod support;

use deeppipeline::engine::{Call, Done, Graph, Input, Node, Notice, Supervisor, Wait, Worker};
use deeppipeline::{Give, Overflow};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;
use support::until;

/// A pipeline whose stages each wait for a word in `stage_run`: whether they fail.
struct Held {
    supervisor: Arc<Supervisor<u32>>,
    words: Vec<Sender<bool>>,
    threads: Vec<JoinHandle<()>>,
}

impl Held {
    fn start(stages: Vec<Node>, overflow: Overflow) -> Self {
        let graph = Graph { stages, buffer_size: 1.into(), overflow: Some(overflow), ..Graph::default() };
        let (supervisor, workers) = Supervisor::new(graph).unwrap();
        supervisor.keep_notices();
        let (words, heard): (Vec<_>, Vec<_>) = workers.iter().map(|_| channel()).unzip();
        let threads = workers.into_iter().zip(heard);
        let threads = threads.map(|(worker, heard)| std::thread::spawn(move || run(worker, &heard))).collect();
        Held { supervisor, words, threads }
    }

    fn put(&self, x: u32) {
        self.supervisor.put(x, Wait::Forever).unwrap();
    }

    fn in_flight(&self, stage: usize) -> u64 {
        self.supervisor.report().stages[stage].counts.in_flight
    }

    /// Lets everything pass, and gives back what is still to be told.
    fn end(self) -> Vec<Notice> {
        drop(self.words);
        self.supervisor.close();
        self.threads.into_iter().for_each(|thread| thread.join().unwrap());
        std::iter::from_fn(|| self.supervisor.next_notice()).collect()
    }
}

fn run(mut worker: Worker<u32>, heard: &Receiver<bool>) {
    while let Some(call) = worker.next() {
        worker.done(match call {
            Call::StageRun(Input::One(sample)) => match heard.recv() {
                Ok(true) => Done::Failed("broken".into()),
                _ => Done::Gave(Give::One(sample.value)),
            },
            _ => Done::Gave(Give::Skip),
        });
    }
}

#[test]
fn the_first_drop_of_a_buffer_is_told_at_once_and_the_rest_at_the_end() {
    let held = Held::start(vec![Node::new("slow")], Overflow::DropOldest);
    held.put(0);
    until(|| held.in_flight(0) == 1);
    (1..=4).for_each(|x| held.put(x));
    let dropped =
        |samples, first| Notice::Dropped { stage: "slow".to_owned(), samples, first, overflow: Overflow::DropOldest };
    assert_eq!(held.supervisor.next_notice(), Some(dropped(1, true)));
    assert_eq!(held.end(), [dropped(2, false)]);
}

#[test]
fn a_failure_is_told_when_it_happens() {
    let held = Held::start(vec![Node::new("odd")], Overflow::Block);
    held.put(1);
    held.words[0].send(true).unwrap();
    assert_eq!(held.supervisor.next_notice(), Some(Notice::Failed));
    assert_eq!(held.end(), []);
}

#[test]
fn a_stage_that_hangs_is_told_while_it_hangs_and_once() {
    let time_limit = Duration::from_millis(20);
    let stages = vec![Node::new("first"), Node { time_limit: Some(time_limit), ..Node::new("stuck") }];
    let held = Held::start(stages, Overflow::Block);
    held.put(1);
    held.words[0].send(false).unwrap();
    let Some(Notice::Hangs { stage, worker, sample, .. }) = held.supervisor.next_notice() else {
        panic!("nothing was told");
    };
    assert_eq!((stage.as_str(), worker, sample.number), ("stuck", 1, 1));
    assert_eq!(held.end(), []);
}

#[test]
fn stages_that_only_wait_are_said_to_wait() {
    let held = Held::start(["first", "stuck", "behind"].map(Node::new).to_vec(), Overflow::Block);
    // One in the hands of the second, one in front of it, and one for which there is no room.
    for x in 1..=3 {
        held.put(x);
        held.words[0].send(false).unwrap();
    }
    let busy = "stuck; first waits for room in front of stuck; behind waits for samples";
    until(|| held.supervisor.still_busy() == busy);
    assert_eq!(held.end(), []);
}
