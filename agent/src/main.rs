//! The program: words to a command, its result to an exit status.

use agent::command::{cli::Cli, error::CommandError, explain::ExplainError};
use clap::Parser;
use dataplane::reconciler::with_causes;
use std::process::ExitCode;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match Cli::parse().run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            match error.downcast_ref::<CommandError>() {
                Some(error) => eprintln!("{}", error.text()),
                None => eprintln!("portcullis: {}", with_causes(error.as_ref())),
            }
            error.downcast_ref().map_or(ExitCode::FAILURE, ExplainError::exit_code)
        }
    }
}
