//! The log: one stream to standard error, from where the journal takes it. `LogSeverityScreen` says how much, in
//! Felix's words, and may change while the agent runs; `RUST_LOG`, for developers, says it for single modules.

use crate::config::{LogFormat, LogLevel};
use std::io::IsTerminal;
use tracing_subscriber::{
    EnvFilter, Registry, filter::LevelFilter, fmt, layer::SubscriberExt, reload, util::SubscriberInitExt,
};

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum LoggingError {
    #[error("RUST_LOG cannot be understood: {0}; leave it out, or write for example agent=debug")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    #[error("the log is already set up")]
    Twice,
}

/// Changes how much is logged.
#[derive(Debug)]
pub struct Logging {
    /// `None` where `RUST_LOG` decides.
    filter: Option<reload::Handle<EnvFilter, Registry>>,
}

impl Logging {
    /// Logs no less than this from now on.
    pub fn set_level(&self, level: LogLevel) {
        if let Some(filter) = &self.filter {
            // It fails only when the log is gone, and then nobody misses it.
            let _ = filter.reload(filter_of(level));
        }
    }
}

/// Sets the log up, once in a process.
///
/// # Errors
/// [`LoggingError`].
pub fn init(level: LogLevel, format: LogFormat) -> Result<Logging, LoggingError> {
    let directives = std::env::var("RUST_LOG").ok().filter(|d| !d.is_empty());
    let filter = match &directives {
        Some(directives) => EnvFilter::try_new(directives)?,
        None => filter_of(level),
    };
    let (filter, handle) = reload::Layer::new(filter);
    let registry = tracing_subscriber::registry().with(filter);
    let result = match format {
        LogFormat::Json => {
            registry.with(fmt::layer().json().flatten_event(true).with_writer(std::io::stderr)).try_init()
        }
        LogFormat::Text => {
            let layer = fmt::layer().with_writer(std::io::stderr).with_target(false);
            let layer = layer.with_ansi(std::io::stderr().is_terminal());
            // The journal has a clock of its own.
            match std::env::var_os("JOURNAL_STREAM") {
                Some(_) => registry.with(layer.without_time()).try_init(),
                None => registry.with(layer).try_init(),
            }
        }
    };
    result.map_err(|_| LoggingError::Twice)?;
    Ok(Logging { filter: directives.is_none().then_some(handle) })
}

/// Our own modules at the level, those of others no finer than `warn` until it is `Debug`, and `info` then: at
/// `Debug` an operator looks for our reasons and not for HTTP/2 frames.
fn filter_of(level: LogLevel) -> EnvFilter {
    let (ours, others) = match level {
        LogLevel::Off => (LevelFilter::OFF, LevelFilter::OFF),
        // There is nothing above an error here; what ends the agent is one.
        LogLevel::Fatal | LogLevel::Error => (LevelFilter::ERROR, LevelFilter::ERROR),
        LogLevel::Warning => (LevelFilter::WARN, LevelFilter::WARN),
        LogLevel::Info => (LevelFilter::INFO, LevelFilter::WARN),
        LogLevel::Debug => (LevelFilter::DEBUG, LevelFilter::INFO),
        LogLevel::Trace => (LevelFilter::TRACE, LevelFilter::TRACE),
    };
    let crates = ["portcullis", "agent", "dataplane", "proto"];
    crates.iter().fold(EnvFilter::default().add_directive(others.into()), |filter, name| {
        let directive = format!("{name}={ours}").parse().expect("a crate and a level are a directive");
        filter.add_directive(directive)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn felix_words_become_filters() {
        let cases = [
            (LogLevel::Off, "agent=off", ",off"),
            (LogLevel::Fatal, "agent=error", ",error"),
            (LogLevel::Info, "agent=info", ",warn"),
            (LogLevel::Debug, "dataplane=debug", ",info"),
        ];
        for (level, ours, others) in cases {
            let filter = format!(",{}", filter_of(level));
            assert!(filter.contains(ours) && filter.contains(others), "{level:?}: {filter}");
        }
    }
}
