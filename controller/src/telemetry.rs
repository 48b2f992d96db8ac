//! Structured logs on standard output.

use std::panic::PanicHookInfo;

use tracing_subscriber::{EnvFilter, fmt::time::SystemTime};

use crate::args::LogFormat;

/// Logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter does not parse.
    #[error("the log filter {filter:?} does not parse: write it as in `info,slipway_controller=debug`")]
    Filter {
        /// What was given by `--log`.
        filter: String,
        /// What the parser says.
        #[source]
        source: tracing_subscriber::filter::ParseError,
    },
    /// Somebody else in this process already logs.
    #[error("a log subscriber is already installed")]
    AlreadyInstalled(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Installs the log subscriber of this process, and sends panics through it.
pub fn init(format: LogFormat, filter: &str) -> Result<(), TelemetryError> {
    let parsed = EnvFilter::try_new(filter).map_err(|source| TelemetryError::Filter {
        filter: filter.to_owned(),
        source,
    })?;
    let lines = tracing_subscriber::fmt()
        .with_env_filter(parsed)
        .with_timer(SystemTime);
    match format {
        LogFormat::Text => lines.with_ansi(false).try_init(),
        LogFormat::Json => lines
            .json()
            .flatten_event(true)
            .with_current_span(true)
            .with_span_list(false)
            .try_init(),
    }
    .map_err(TelemetryError::AlreadyInstalled)?;
    std::panic::set_hook(Box::new(log_panic));
    Ok(())
}

/// One structured line instead of the default text on standard error.
fn log_panic(panic: &PanicHookInfo<'_>) {
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    let message = panic.payload_as_str().unwrap_or("no message");
    tracing::error!(place, message, "panic");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_that_does_not_parse_is_named() {
        let error = init(LogFormat::Json, "info,=,").unwrap_err();
        assert!(error.to_string().contains("info,=,"), "{error}");
    }
}
