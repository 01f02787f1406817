//! The nodes of a pipeline: its stages and, where no thread can do it itself, relays, which hand samples to the branches
//! of a block or bring their results to its join.
//!
//! A stage in front of a block hands its results to the branches itself, and one at the end of a branch brings them to
//! the join itself, as one worker on a thread. A process reaches neither the other branches nor the join; results of
//! several workers are in order only behind a buffer; and what is put, or joined by another block, needs one to lie in.
//! In front of a route there is always one: its failure is the route's own, whoever gave the sample.

use super::{
    Block, BlockResults, BufferSize, DEFAULT_BUFFER_SIZE, EntranceNode, Flow, Graph, GraphError, MAX_ENTRANCES, Node,
    SourceNode,
};
use crate::buffer::{Limits, Workers};
use crate::policies::{ErrorPolicy, Overflow};
use crate::timeline::{Plan, PlannedEntrance};
use crate::worker::Role;
use std::ops::Range;

/// A pipeline as its workers see it.
#[derive(Debug)]
pub(crate) struct Layout {
    pub(crate) source: Option<SourceNode>,
    /// The time after which a source that has given nothing is stalled, for those that do not say.
    pub(crate) stall_timeout: Option<std::time::Duration>,
    /// The entrances that have names, instead of that source and of `put` without a name.
    pub(crate) entrances: Vec<EntranceNode>,
    /// The policy of entrances that do not say; `None` is what suits each.
    entrance_overflow: Option<Overflow>,
    /// The place where what comes from the source goes, or what is put.
    pub(crate) entrance: Flow,
    /// All nodes, in reading order.
    pub(crate) nodes: Vec<PlacedNode>,
    /// The limits of the buffer in front of each node.
    pub(crate) limits: Vec<Limits>,
    /// All blocks, in reading order.
    pub(crate) blocks: Vec<PlacedBlock>,
    /// The number of answers that may be to come at once, where samples may be submitted.
    pub(crate) answers: Option<usize>,
    /// True if the fate of every sample is told.
    pub(crate) fates: bool,
    /// What a timeline tells of it beside its stages.
    pub(crate) plan: Plan,
}

/// The number of answers that may be to come at once, beside those to what has room inside.
const SPARE_ANSWERS: usize = 1024;

/// The number of samples that may be in the branches of a block, each in one, behind the first that has not come out.
const MOST_IN_BRANCHES: usize = 128;

/// A node, and what is in front of it and behind it.
#[derive(Debug)]
pub(crate) struct PlacedNode {
    /// Its options, with a name of its own.
    pub(crate) options: Node,
    pub(crate) role: Role,
    pub(crate) from: Producer,
    pub(crate) flow: Flow,
    /// The number of workers that it begins with: `options` say how many there may be, and so all that is made for them.
    pub(crate) starts_with: usize,
    /// True if it is in a branch whose results are joined with what another gives for the same sample.
    pub(crate) joined: bool,
    /// True if it drops what it has no time for because it stands beside a branch that must not wait for it: nobody has
    /// to be told.
    pub(crate) drops_by_design: bool,
}

/// The producer of what a node gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Producer {
    /// The source, or callers of `put`.
    Entrance,
    /// The node at that index.
    Node(usize),
    /// The node that hands samples to the branches of that block.
    Fork(usize),
    /// The join of that block.
    Join(usize),
}

/// A block, as indices of nodes.
#[derive(Debug, Clone)]
pub(crate) struct PlacedBlock {
    /// A name of its own.
    pub(crate) name: String,
    /// The producer that hands samples to the branches.
    pub(crate) fork: Producer,
    /// The first and the last node of each branch.
    pub(crate) branches: Vec<(usize, usize)>,
    /// The node that gets what is joined.
    pub(crate) behind: Option<usize>,
    pub(crate) results: BlockResults,
    pub(crate) routed: bool,
}

impl PlacedBlock {
    /// Returns true if each sample goes through one of the branches, and they come out in order.
    pub(crate) fn restores_order(&self) -> bool {
        self.routed && self.results == BlockResults::Joined
    }

    /// Returns true if the parts of each sample go through its one branch, and come together behind it.
    pub(crate) fn gathers(&self) -> bool {
        self.results == BlockResults::Gathered
    }

    /// All nodes in the branches.
    pub(crate) fn nodes(&self) -> Range<usize> {
        let ends = self.branches.first().zip(self.branches.last());
        ends.map_or(0..0, |((first, _), (_, last))| *first..last + 1)
    }
}

impl Layout {
    /// Lays out the nodes of a pipeline.
    ///
    /// # Errors
    /// A block that is not where a chain has it, or an end that is none.
    pub(super) fn new(graph: &Graph) -> Result<Self, GraphError> {
        let (nodes, limits, blocks) = (Vec::new(), Vec::new(), Vec::new());
        let (source, entrances, entrance) = (graph.source, graph.entrances.clone(), Flow::End);
        let (entrance_overflow, answers) = (graph.overflow, None);
        let layout = Layout {
            source,
            stall_timeout: graph.stall_timeout,
            entrances,
            entrance_overflow,
            entrance,
            nodes,
            limits,
            blocks,
            answers,
            fates: graph.fates,
            plan: Plan::default(),
        };
        let mut walk = Walk { graph, layout, names: Vec::new(), joins_around: 0 };
        walk.chain(0..graph.stages.len(), Producer::Entrance, graph.answers.then_some(Flow::Answers))?;
        let mut layout = walk.layout;
        if layout.blocks.len() < graph.blocks.len() {
            return Err(misplaced("it begins at no stage of a chain, or is not behind the block around it"));
        }
        if let Some(first) = layout.nodes.first().filter(|first| first.role != Role::Relay) {
            let implied = first.options.intake.supersedes().then_some(Overflow::DropOldest);
            layout.entrance_overflow = first.options.overflow.or(implied).or(graph.overflow);
        }
        layout.limits = (0..layout.nodes.len()).map(|index| layout.limits_of(graph, index)).collect();
        layout.plan = layout.plan_of(graph);
        if graph.answers {
            let room = |limits: &Limits| limits.capacity.saturating_add(limits.consumers.ahead());
            let answers = layout.limits.iter().map(room).fold(SPARE_ANSWERS, usize::saturating_add);
            layout.limits.iter_mut().for_each(|limits| limits.ends = answers);
            layout.answers = Some(answers);
        }
        if graph.fates {
            for limits in &mut layout.limits {
                (limits.ends, limits.fates) = (limits.ends.max(SPARE_ANSWERS), true);
            }
        }
        for block in layout.blocks.iter().filter(|block| block.restores_order() || block.gathers()) {
            // The node that gathers comes behind the branch.
            for node in block.nodes().chain(block.behind.filter(|_| block.gathers())) {
                let limits = &mut layout.limits[node];
                limits.ends = limits.ends.max(SPARE_ANSWERS);
            }
        }
        Ok(layout)
    }

    /// The policy of an entrance: its own, else what the first stage and the pipeline say, else what suits its source.
    pub(crate) fn overflow_of(&self, entrance: &EntranceNode) -> Overflow {
        let suits = match entrance.source {
            Some(SourceNode { is_live: false, .. }) => Overflow::Block,
            Some(SourceNode { is_live: true, .. }) | None => Overflow::DropOldest,
        };
        entrance.overflow.or(self.entrance_overflow).unwrap_or(suits)
    }

    /// What a timeline tells of it beside its stages.
    fn plan_of(&self, graph: &Graph) -> Plan {
        let entrance = |entrance: &EntranceNode| PlannedEntrance {
            name: entrance.name.clone(),
            overflow: self.overflow_of(entrance),
            max_age: entrance.max_age,
        };
        let entrances = self.entrances.iter().map(entrance).collect();
        Plan { blocks: graph.blocks.clone(), entrances, bringers_wait: 0.0 }
    }

    /// Returns true if the ends of samples have to be told: somebody waits for an answer or asks for every fate, or
    /// other samples wait for their turn.
    pub(crate) fn tells_ends(&self) -> bool {
        self.tells_errors() || self.heeds_ends()
    }

    /// Returns true if somebody is told why a sample has failed: for an answer, a fate, or the result of a part.
    pub(crate) fn tells_errors(&self) -> bool {
        self.answers.is_some() || self.fates || self.blocks.iter().any(PlacedBlock::gathers)
    }

    /// Returns true if others may wait for samples that end: for their turn, or for parts of theirs.
    pub(crate) fn heeds_ends(&self) -> bool {
        self.blocks.iter().any(|block| block.restores_order() || block.gathers())
    }

    /// Returns true if parts of samples go through a node.
    pub(crate) fn is_for_parts(&self, index: usize) -> bool {
        self.blocks.iter().any(|block| block.gathers() && block.nodes().contains(&index))
    }

    /// Returns the block of which that node puts samples together with the results of their parts.
    pub(crate) fn gathers(&self, index: usize) -> Option<usize> {
        self.blocks.iter().position(|block| block.gathers() && block.behind == Some(index))
    }

    /// Returns true if a node is a relay that brings answers: no stage, so it has no row in the report.
    pub(crate) fn brings_answers(&self, index: usize) -> bool {
        let PlacedNode { role, flow, .. } = &self.nodes[index];
        *role == Role::Relay && *flow == Flow::Answers
    }

    /// Returns true if a node is the last stage: what it gives ends the pipeline, or is an answer.
    pub(crate) fn is_last(&self, index: usize) -> bool {
        match self.nodes[index].flow {
            Flow::End => true,
            Flow::Answers => self.nodes[index].role != Role::Relay,
            Flow::Next(next) => self.brings_answers(next),
            Flow::Fork(_) | Flow::Join { .. } => false,
        }
    }

    /// Returns true if a node is in a process.
    pub(crate) fn is_in_process(&self, index: usize) -> bool {
        self.nodes[index].options.executor.is_process()
    }

    /// Returns true if samples cross from one process to another in front of a node.
    pub(crate) fn is_shared(&self, index: usize) -> bool {
        self.is_in_process(index)
            || matches!(self.nodes[index].from, Producer::Node(before) if self.is_in_process(before))
    }

    /// Returns true if the number of workers of a node may change while the pipeline runs.
    pub(crate) fn may_scale(&self, index: usize) -> bool {
        self.nodes[index].options.workers > 1
    }

    /// Returns true if a stage on a thread has a time limit.
    pub(crate) fn has_time_limits_on_threads(&self) -> bool {
        self.nodes.iter().any(|node| !node.options.executor.is_process() && node.options.time_limit.is_some())
    }

    /// A node, and all from which samples come to it.
    pub(crate) fn up_to(&self, index: usize) -> Vec<usize> {
        let mut nodes = vec![index];
        let mut next = 0;
        while let Some(node) = nodes.get(next).copied() {
            next += 1;
            let mut from = self.nodes[node].from;
            if let Producer::Fork(block) = from {
                from = self.blocks[block].fork;
            }
            let before = match from {
                Producer::Node(before) => vec![before],
                // What is behind a block comes from all of its branches.
                Producer::Join(block) => self.blocks[block].branches.iter().map(|(_, last)| *last).collect(),
                Producer::Entrance | Producer::Fork(_) => Vec::new(),
            };
            nodes.extend(before.into_iter().filter(|node| !nodes.contains(node)).collect::<Vec<_>>());
        }
        nodes
    }

    /// The workers of a node. Nothing leaves an end stage, so there is nothing to be put in order; and an answer knows
    /// its sample.
    pub(crate) fn workers_of(&self, index: usize) -> Workers {
        let options = &self.nodes[index].options;
        let time_limit = options.time_limit.filter(|_| !options.executor.is_process());
        Workers { workers: options.workers, ordered: options.ordered && !self.is_last(index), time_limit }
    }

    /// The number of samples that the buffer in front of a node holds.
    fn capacity_of(&self, graph: &Graph, index: usize) -> usize {
        let PlacedNode { options, role, .. } = &self.nodes[index];
        match (options.buffer_size, &graph.buffer_size, role) {
            (Some(own), ..) => own,
            (None, BufferSize::Each(size), _) => *size,
            (None, BufferSize::List(sizes), Role::Stage(stage)) => sizes[*stage],
            (None, BufferSize::List(_), Role::Relay | Role::Source(_)) => DEFAULT_BUFFER_SIZE,
        }
    }

    /// The limits of the buffer in front of a node.
    fn limits_of(&self, graph: &Graph, index: usize) -> Limits {
        let PlacedNode { options, role, from, .. } = &self.nodes[index];
        Limits {
            capacity: self.capacity_of(graph, index),
            bytes: options.buffer_bytes.or(graph.buffer_bytes).unwrap_or(super::DEFAULT_BUFFER_BYTES) as u64,
            overflow: options.overflow_in(graph),
            intake: options.intake,
            max_age: options.max_age.or(graph.max_age).filter(|_| *role != Role::Relay),
            lanes: if *from == Producer::Entrance && !graph.entrances.is_empty() { MAX_ENTRANCES } else { 0 },
            source_cuts: if graph.entrances.is_empty() { 0 } else { MAX_ENTRANCES },
            producers: match from {
                Producer::Node(before) => self.workers_of(*before),
                Producer::Join(block) if self.blocks[*block].restores_order() => {
                    // The branches are like workers, whose results have to be put in order. Relays do not count: what
                    // may be inside is the same wherever the stages run.
                    let is_stage = |node: &usize| self.nodes[*node].role != Role::Relay;
                    let inside = self.blocks[*block].nodes().filter(is_stage);
                    let room = inside.map(|node| self.capacity_of(graph, node) + self.nodes[node].options.workers);
                    let workers = room.fold(0, usize::saturating_add).div_ceil(2).clamp(2, MOST_IN_BRANCHES / 2);
                    Workers { workers, ordered: true, time_limit: None }
                }
                Producer::Entrance | Producer::Fork(_) | Producer::Join(_) => Workers::ONE,
            },
            consumers: self.workers_of(index),
            is_last: self.is_last(index),
            ends: 0,
            fates: false,
            visits: graph.record.unwrap_or(super::DEFAULT_RECORD),
        }
    }
}

/// A walk along a chain and into every branch, each stage once.
struct Walk<'a> {
    graph: &'a Graph,
    layout: Layout,
    /// All names so far.
    names: Vec<String>,
    /// The number of blocks around the chain whose results are joined.
    joins_around: usize,
}

impl Walk<'_> {
    /// Lays out the stages of one chain, which ends the pipeline unless it is a branch whose results are joined.
    fn chain(&mut self, stages: Range<usize>, mut from: Producer, to: Option<Flow>) -> Result<(), GraphError> {
        let mut stage = stages.start;
        while stage < stages.end {
            // Blocks come in reading order, one inside another after it.
            let block = self.graph.blocks.get(self.layout.blocks.len());
            let Some(block) = block.filter(|block| block.branches.first().is_some_and(|first| first.start == stage))
            else {
                let node = self.graph.stages[stage].clone();
                from = Producer::Node(self.add(Role::Stage(stage), node, from));
                stage += 1;
                continue;
            };
            let number = self.layout.blocks.len();
            stage = self.block(block, from, stages.end)?;
            let is_at_the_end = stage == stages.end;
            match block.results {
                BlockResults::End if is_at_the_end && to == Some(Flow::Answers) => {
                    return Err(GraphError::AnswersOfBranches);
                }
                BlockResults::End if !is_at_the_end || to.is_some() => return Err(GraphError::BehindTheEnd),
                BlockResults::Joined | BlockResults::JoinedWithLatest if is_at_the_end && to.is_none() => {
                    return Err(GraphError::JoinAtTheEnd);
                }
                BlockResults::Gathered => from = self.gathering(number),
                _ => from = Producer::Join(number),
            }
        }
        if let Some(to) = to {
            let gives_itself = matches!(from, Producer::Node(last) if self.is_one_thread(last));
            if !gives_itself {
                let name = match to {
                    Flow::Join { branch, .. } => format!("join of branch {}", branch + 1),
                    _ => "answers".to_owned(),
                };
                let relay = self.relay(name, from);
                if to == Flow::Answers {
                    // An answer that cannot be made again from its bytes fails alone.
                    self.layout.nodes[relay].options.on_error = ErrorPolicy::Skip;
                }
                from = Producer::Node(relay);
            }
            self.connect(from, to);
        }
        Ok(())
    }

    /// Lays out a block, and returns the stage behind it.
    fn block(&mut self, block: &Block, from: Producer, end: usize) -> Result<usize, GraphError> {
        let number = self.layout.blocks.len();
        if block.routed && block.results == BlockResults::JoinedWithLatest {
            return Err(misplaced("it gives each sample to one branch, and joins it with what others give"));
        }
        if block.results == BlockResults::Gathered && (block.routed || block.branches.len() != 1) {
            return Err(misplaced("parts of samples go through it, which has not one branch alone"));
        }
        // What comes from the source has no number before it is in a buffer.
        let has_number = block.results != BlockResults::Gathered || from != Producer::Entrance;
        let (fork, name) = match !block.routed && has_number && self.forks(from) {
            true if block.results == BlockResults::Gathered => (from, block.name.clone()),
            false if block.results == BlockResults::Gathered => {
                let relay = self.relay(format!("split of {}", block.name), from);
                (Producer::Node(relay), block.name.clone())
            }
            true => (from, self.own_name(&block.name)),
            false => {
                let relay = self.relay(block.name.clone(), from);
                (Producer::Node(relay), self.layout.nodes[relay].options.name.clone())
            }
        };
        self.connect(fork, Flow::Fork(number));
        let branches = Vec::new();
        let Block { results, routed, .. } = *block;
        self.layout.blocks.push(PlacedBlock { name, fork, branches, behind: None, results, routed });

        let around = self.joins_around;
        let mut next = block.branches[0].start;
        for (branch, stages) in block.branches.iter().enumerate() {
            if stages.is_empty() {
                return Err(GraphError::EmptyBranch);
            }
            if stages.start != next || stages.end > end {
                return Err(misplaced("its branches do not follow one after the other"));
            }
            let first = self.layout.nodes.len();
            let to = (block.results != BlockResults::End).then_some(Flow::Join { block: number, branch });
            self.joins_around = match block.results {
                BlockResults::Joined | BlockResults::Gathered => around + 1,
                // No sample is waited for in the branches beside the first.
                BlockResults::JoinedWithLatest if branch > 0 => 0,
                BlockResults::End | BlockResults::JoinedWithLatest => around,
            };
            self.chain(stages.clone(), Producer::Fork(number), to)?;
            if block.results == BlockResults::JoinedWithLatest && branch > 0 {
                self.drop_at(first);
            }
            let last = self.layout.nodes.len() - 1;
            self.layout.blocks[number].branches.push((first, last));
            next = stages.end;
        }
        self.joins_around = around;
        Ok(next)
    }

    /// Adds the node that puts samples together with the results of their parts. There are as many inside as the stages
    /// have room for, so that parts of several fill a batch.
    fn gathering(&mut self, block: usize) -> Producer {
        let room = |node: usize| self.layout.capacity_of(self.graph, node) + self.layout.nodes[node].options.workers;
        let inside = self.layout.blocks[block].nodes().filter(|node| self.layout.nodes[*node].role != Role::Relay);
        let capacity = inside.map(room).fold(0, usize::saturating_add).clamp(2, MOST_IN_BRANCHES);
        let relay = self.relay(self.layout.blocks[block].name.clone(), Producer::Join(block));
        let options = &mut self.layout.nodes[relay].options;
        options.buffer_size = Some(capacity);
        self.layout.blocks[block].name = options.name.clone();
        Producer::Node(relay)
    }

    /// Lets a branch that the first of its block must not wait for begin by dropping what it has no time for, unless
    /// its stage says otherwise.
    fn drop_at(&mut self, first: usize) {
        let PlacedNode { options, role, drops_by_design, .. } = &mut self.layout.nodes[first];
        if *role == Role::Relay || options.overflow.is_none() {
            options.overflow = Some(Overflow::DropOldest);
            *drops_by_design = true;
        }
    }

    /// Returns true if the producer in front of a block can hand samples to its branches itself.
    fn forks(&self, from: Producer) -> bool {
        match from {
            Producer::Entrance => self.graph.source.is_some(),
            Producer::Node(node) => self.is_one_thread(node),
            Producer::Fork(_) | Producer::Join(_) => false,
        }
    }

    fn is_one_thread(&self, node: usize) -> bool {
        let Node { executor, workers, .. } = &self.layout.nodes[node].options;
        !executor.is_process() && *workers == 1
    }

    fn relay(&mut self, name: String, from: Producer) -> usize {
        self.add(Role::Relay, Node { overflow: Some(Overflow::Block), ..Node::new(name) }, from)
    }

    /// Adds a node behind its producer.
    fn add(&mut self, role: Role, mut options: Node, from: Producer) -> usize {
        options.name = self.own_name(&options.name);
        let index = self.layout.nodes.len();
        let joined = self.joins_around > 0;
        let flow = Flow::End;
        let (starts_with, most) = (options.workers, options.most_workers());
        options.workers = most;
        self.layout.nodes.push(PlacedNode { options, role, from, flow, starts_with, joined, drops_by_design: false });
        self.connect(from, Flow::Next(index));
        index
    }

    fn connect(&mut self, from: Producer, to: Flow) {
        match (from, to) {
            (Producer::Entrance, _) => self.layout.entrance = to,
            (Producer::Node(node), _) => self.layout.nodes[node].flow = to,
            (Producer::Join(block), Flow::Next(node)) => self.layout.blocks[block].behind = Some(node),
            // A fork finds the first node of each branch in its block.
            (Producer::Join(_) | Producer::Fork(_), _) => {}
        }
    }

    /// Tells what has the same name apart, so that a report or an error names one: the second `Detect` becomes
    /// `Detect 2`.
    fn own_name(&mut self, name: &str) -> String {
        let numbered = (2..).map(|number| format!("{name} {number}"));
        let mut names = std::iter::once(name.to_owned()).chain(numbered);
        let free = names.find(|name| !self.names.contains(name)).unwrap_or_default();
        self.names.push(free.clone());
        free
    }
}

fn misplaced(problem: &'static str) -> GraphError {
    GraphError::MisplacedBlock { problem }
}
