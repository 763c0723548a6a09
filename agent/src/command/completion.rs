//! `portcullis completion`, `portcullis man` and `portcullis version`: what packagers and shells ask of a program.

use super::{
    config::Output,
    initialise::CALICO_VERSION,
    output::{out, outln},
};
use clap::CommandFactory;
use std::{
    io,
    path::{Path, PathBuf},
};

/// Prints a completion script for a shell.
#[derive(Debug, clap::Args)]
#[command(long_about = "Prints a completion script for a shell.\n\n\
    For bash: portcullis completion bash > /usr/share/bash-completion/completions/portcullis")]
pub struct CompletionArgs {
    /// The shell to write for
    shell: clap_complete::Shell,
}

/// Writes the man pages, one for each command.
#[derive(Debug, clap::Args)]
pub struct ManArgs {
    /// The directory to write them to, for example /usr/local/share/man/man8
    directory: PathBuf,
}

/// Prints which program this is, and which Calico it writes like.
#[derive(Debug, clap::Args)]
pub struct VersionArgs {
    /// Form of the answer
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

/// Prints it to standard output.
pub fn version(args: &VersionArgs) {
    let ours = env!("CARGO_PKG_VERSION");
    match args.output {
        Output::Json => outln!("{}", serde_json::json!({ "version": ours, "calico": CALICO_VERSION })),
        Output::Table => outln!("portcullis {ours}, reads and writes like Calico {CALICO_VERSION}"),
    }
}

/// Prints the script to standard output.
pub fn completion(args: &CompletionArgs) {
    let mut command = super::cli::Cli::command();
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, "portcullis", &mut script);
    out!("{}", String::from_utf8_lossy(&script));
}

/// Writes `portcullis.8`, `portcullis-agent.8` and so on, each with its subcommands.
///
/// # Errors
/// Those of writing a file, with its name.
pub fn man(args: &ManArgs) -> io::Result<()> {
    std::fs::create_dir_all(&args.directory).map_err(|error| named(&args.directory, &error))?;
    // What it would say is on the pages.
    let mut root = super::cli::Cli::command().disable_help_subcommand(true);
    root.build();
    write_pages(&root, "portcullis", &args.directory)
}

/// The page of a command, and those of the commands below it.
fn write_pages(command: &clap::Command, title: &str, directory: &Path) -> io::Result<()> {
    // clap keeps names for as long as the process lives.
    let name: &'static str = Box::leak(title.to_owned().into_boxed_str());
    let page = clap_mangen::Man::new(command.clone().name(name)).section("8");
    let path = directory.join(format!("{title}.8"));
    let mut text = Vec::new();
    page.render(&mut text)?;
    std::fs::write(&path, text).map_err(|error| named(&path, &error))?;
    for below in command.get_subcommands().filter(|c| !c.is_hide_set()) {
        write_pages(below, &format!("{title}-{}", below.get_name()), directory)?;
    }
    Ok(())
}

fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("cannot write man pages to {}: {error}", path.display()))
}
