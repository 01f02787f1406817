//! What goes wrong with the memory of a buffer that processes share, in words.

/// A sample does not fit into a shared buffer, however empty.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[error("the sample takes {size} bytes, but buffer_bytes is {buffer_bytes}: raise buffer_bytes, or send less")]
pub struct SampleTooLarge {
    /// Bytes of the sample.
    pub size: usize,
    /// Bytes that the buffer holds at most.
    pub buffer_bytes: u64,
}

/// The memory of a buffer that processes share says what cannot be true. The pipeline stops, since nothing in it can be
/// relied on any more.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the shared memory of its buffer is damaged: {why}. Code in one of its workers has written where it must not: look at what is native there, and at what uses pointers"
)]
pub struct MemoryDamaged {
    pub(crate) why: &'static str,
}

/// There are no addresses left for a sample in shared memory.
#[cfg(processes)]
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot map the shared memory of a sample of {size} bytes ({cause}): send less, lower buffer_size, or raise the limit of addresses (ulimit -v)"
)]
pub(crate) struct NoAddresses {
    pub(crate) size: usize,
    #[source]
    pub(crate) cause: std::io::Error,
}
