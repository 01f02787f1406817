//! The `deeppipeline` command.

// They panic when nobody reads, and a panic would take the results with it.
#![deny(clippy::print_stdout, clippy::print_stderr)]

mod arguments;
mod behaviour;
mod cameras;
mod console;
mod cost;
mod each_input;
mod output;
#[cfg(target_os = "linux")]
mod processes;
mod progress;
mod recorded;
mod serial;
mod top;

use clap::{Parser, Subcommand};
use std::error::Error;
use std::process::ExitCode;

/// Run chains of deep-learning stages, every stage busy at the same time on a different sample.
#[derive(Parser)]
#[command(version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Recognise what people do in a video: capture, detect, track, estimate poses, classify, draw, write.
    Behaviour(arguments::Arguments),
    /// Show a running pipeline in the terminal: rates, what the workers do, what is dropped, and what limits.
    Top(top::Arguments),
    /// Show a timeline that was written into a file: what happened, the way of one sample, or a picture.
    Timeline(recorded::TimelineArguments),
    /// Tell what a pipeline would do with other settings, from a timeline that was written into a file.
    Simulate(recorded::SimulateArguments),
}

fn main() -> ExitCode {
    deeppipeline_vision::on_warning(|text| console::note(format_args!("warning: {text}")));
    // Where this program was started to be one of its own stages, it works here, and never comes back.
    #[cfg(target_os = "linux")]
    processes::workers().run();

    let result = match Arguments::parse().command {
        Command::Behaviour(arguments) => behaviour::run(&arguments),
        Command::Top(arguments) => top::run(&arguments),
        Command::Timeline(arguments) => recorded::timeline(&arguments),
        Command::Simulate(arguments) => recorded::simulate(&arguments),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            console::note(format_args!("error: {}", one_line(&*error)));
            ExitCode::FAILURE
        }
    }
}

/// The error on one line, whatever its parts contain.
fn one_line(error: &dyn Error) -> String {
    error.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
}
