//! `portcullis config`: every setting in force, with who says so.

use super::{
    local::{LocalArgs, LocalError},
    output::out,
};
use crate::{
    config::{LocalSources, Problem, Resolved, Severity},
    engine::Engine,
    syncer::{self, SyncEvent},
};
use serde_json::{Value as Json, json};
use std::{io, io::Write};

/// Shown by `portcullis config --help`.
pub const ABOUT: &str = "Shows every setting in force, with who says so: FELIX_* in the environment, the configuration file, \
the FelixConfiguration of this node, FelixConfiguration `default`, or the compiled default, in this order of precedence.\n\n\
Also lists values that could not be understood, and names that are set and do nothing.";

/// Arguments of `config`.
#[derive(Debug, clap::Args)]
pub struct ConfigArgs {
    #[command(flatten)]
    local: LocalArgs,
    /// Form of the answer
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

/// Why the settings cannot be shown.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum ShowError {
    #[error(transparent)]
    Local(#[from] LocalError),
    #[error("cannot write the answer")]
    Write(#[from] io::Error),
    #[error("the datastore cannot be read, so its settings are missing above: {0}")]
    Datastore(String),
}

/// Prints to standard output.
///
/// # Errors
/// [`ShowError`]. Without the datastore the local settings are printed all the same.
pub async fn run(args: ConfigArgs) -> Result<(), ShowError> {
    let (resolved, unread) = read(args.local.read()?).await;
    let mut text = Vec::new();
    print(&resolved, args.output, &mut text)?;
    out!("{}", String::from_utf8_lossy(&text));
    unread.map_or(Ok(()), |reason| Err(ShowError::Datastore(reason)))
}

/// Form of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Output {
    /// Lines for people.
    Table,
    /// One JSON object.
    Json,
}

/// Reads the local sources and the datastore that they name. Where the datastore does not answer the second part
/// says why, and the first is what an agent would start with.
async fn read(local: LocalSources) -> (Resolved, Option<String>) {
    let mut engine = Engine::new(local);
    let snapshot = syncer::snapshot(&engine.resolved().datastore()).await;
    let unread = snapshot.map(|snapshot| engine.on_datastore(SyncEvent::Snapshot(snapshot))).err();
    (engine.resolved().clone(), unread)
}

/// Prints all settings.
///
/// # Errors
/// As of writing.
fn print(resolved: &Resolved, output: Output, to: &mut impl Write) -> io::Result<()> {
    match output {
        Output::Table => print_table(resolved, to),
        Output::Json => {
            serde_json::to_writer_pretty(&mut *to, &as_json(resolved))?;
            writeln!(to)
        }
    }
}

fn print_table(resolved: &Resolved, to: &mut impl Write) -> io::Result<()> {
    let rows: Vec<_> = resolved
        .values()
        .filter(|(parameter, _)| parameter.has_effect())
        .map(|(parameter, value)| (parameter.name, value.typed.to_string(), value.source.to_string()))
        .collect();
    let width = |column: fn(&(&str, String, String)) -> usize| rows.iter().map(column).max().unwrap_or(0);
    let (names, sources) = (width(|row| row.0.len()), width(|row| row.2.len()));
    // The value comes last, because lists are long.
    writeln!(to, "{:names$}  {:sources$}  VALUE", "SETTING", "SOURCE")?;
    for (name, value, source) in &rows {
        writeln!(to, "{name:names$}  {source:sources$}  {value}")?;
    }
    for problem in &resolved.problems {
        writeln!(to, "\n{}: {problem}", word(problem.severity))?;
    }
    if !resolved.ignored.is_empty() {
        writeln!(to, "\nSet, and without effect:")?;
    }
    for ignored in &resolved.ignored {
        writeln!(to, "  {} ({}): {}", ignored.name, ignored.source, ignored.why)?;
    }
    Ok(())
}

fn as_json(resolved: &Resolved) -> Json {
    let in_force = resolved.values().filter(|(parameter, _)| parameter.has_effect());
    let settings: serde_json::Map<_, _> = in_force
        .map(|(parameter, value)| {
            let shown = json!({ "value": value.typed.to_string(), "source": value.source.to_string() });
            (parameter.name.to_owned(), shown)
        })
        .collect();
    let problem = |p: &Problem| {
        json!({
            "setting": p.parameter, "source": p.source.to_string(), "value": p.text, "reason": p.complaint,
            "inForce": p.in_force, "severity": word(p.severity),
        })
    };
    let problems: Vec<_> = resolved.problems.iter().map(problem).collect();
    let ignored: Vec<_> = resolved
        .ignored
        .iter()
        .map(|i| json!({ "setting": i.name, "source": i.source, "reason": i.why }))
        .collect();
    json!({ "settings": settings, "problems": problems, "ignored": ignored })
}

fn word(severity: Severity) -> &'static str {
    match severity {
        Severity::Hidden => "note",
        Severity::Replaced => "warning",
        Severity::Refused => "error",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Sources, resolve};
    use std::path::Path;

    fn resolved(file: &str) -> Resolved {
        let local = LocalSources::from_text(Path::new("felix.cfg"), file, [], "h").expect("is INI");
        resolve(&Sources { local: &local, global: None, host: None }, None)
    }

    fn printed(file: &str, output: Output) -> String {
        let mut text = Vec::new();
        print(&resolved(file), output, &mut text).expect("a vector takes it");
        String::from_utf8(text).expect("text")
    }

    #[test]
    fn every_setting_has_its_source() {
        let text = printed(
            "LogPrefix=mine\nXDPEnabled=true\nLogSeverityScreen=loud\nEtcdPassword=hunter2",
            Output::Table,
        );
        let line = |name: &str| text.lines().find(|l| l.starts_with(name)).unwrap_or_default().to_owned();
        assert!(line("LogPrefix").contains("felix.cfg") && line("LogPrefix").ends_with("mine"), "{text}");
        assert!(line("HealthPort").contains("default") && line("HealthPort").ends_with("9099"), "{text}");
        assert!(line("warning: LogSeverityScreen").contains("expected one of"), "{text}");
        assert!(line("  XDPEnabled").contains("nftables judges"), "{text}");
        assert!(!text.contains("hunter2"), "{text}");
    }

    #[test]
    fn json_says_the_same() {
        let json: Json =
            serde_json::from_str(&printed("LogPrefix=mine\nNoSuch=1", Output::Json)).expect("JSON");
        assert_eq!(json["settings"]["LogPrefix"]["value"], "mine");
        assert_eq!(json["settings"]["HealthPort"]["source"], "default");
        assert_eq!(json["ignored"][0]["setting"], "NoSuch");
    }

    #[tokio::test]
    async fn a_datastore_that_does_not_answer_is_said() {
        let file = "DatastoreType=file\nFileDatastorePath=/nonexistent";
        let local = LocalSources::from_text(Path::new("felix.cfg"), file, [], "h").expect("is INI");
        let (resolved, missing) = read(local).await;
        assert_eq!(resolved.hostname(), "h");
        assert!(missing.is_some_and(|m| m.contains("/nonexistent")));
    }

    #[tokio::test]
    async fn resources_of_the_datastore_count() {
        let directory = tempfile::TempDir::new().expect("a directory");
        let resource = |name: &str, prefix: &str| {
            format!(
                "apiVersion: projectcalico.org/v3\nkind: FelixConfiguration\nmetadata: {{name: {name}}}\nspec: {{logPrefix: {prefix}}}\n"
            )
        };
        for (name, prefix) in [("default", "all"), ("node.h", "own"), ("node.other", "others")] {
            let path = directory.path().join(format!("{name}.yaml"));
            std::fs::write(path, resource(name, prefix)).expect("a file");
        }
        let text = format!("DatastoreType=file\nFileDatastorePath={}", directory.path().display());
        let local = LocalSources::from_text(Path::new("felix.cfg"), &text, [], "H").expect("is INI");
        let (resolved, missing) = read(local).await;
        assert_eq!((resolved.settings().log_prefix.as_str(), missing), ("own", None));
    }
}
