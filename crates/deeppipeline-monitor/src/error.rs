//! The errors of opening a dashboard.

use std::io;
use std::net::SocketAddr;
use thiserror::Error;

/// A dashboard could not be opened.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The address is not free, or not this machine's.
    #[error("the dashboard cannot listen on {address}: {source}{}", way_out(source))]
    Listen {
        /// The address that was asked for.
        address: SocketAddr,
        /// The error of the system.
        source: io::Error,
    },
    /// The token is too short to keep anybody out.
    #[error("the token has {got} bytes, but must have at least {least}")]
    ShortToken {
        /// The length of the token that was given, in bytes.
        got: usize,
        /// The least number of bytes.
        least: usize,
    },
    /// The system gave no thread, or no random numbers.
    #[error("the dashboard cannot start: {0}")]
    System(#[from] io::Error),
}

fn way_out(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => " (port 0 takes any that is free)",
        _ => "",
    }
}
