//! The output of the command. Its reader may have gone, and the disk may be full: that ends no work.

use deeppipeline::BoxError;
use std::fmt::Display;
use std::io::{self, ErrorKind, Write};

/// Writes a line to standard error, if anything takes it.
pub(crate) fn note(line: impl Display) {
    // There is nowhere else to complain.
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// Prints a paragraph to standard output. A reader that wants no more, as `head -1`, has what it wants.
///
/// # Errors
/// If it cannot be written, for example to a full disk.
pub(crate) fn print(text: impl Display) -> Result<(), BoxError> {
    let mut output = io::stdout().lock();
    match writeln!(output, "{text}").and_then(|()| output.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(format!("cannot print the report: {error}").into()),
        _ => Ok(()),
    }
}
