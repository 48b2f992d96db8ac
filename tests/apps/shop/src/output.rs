//! Standard output for people and programs, and the termination message for Kubernetes.

use std::{
    fs::OpenOptions,
    io::{Write, stderr, stdout},
};

use serde_json::Value;

use crate::error::Error;

/// Where Kubernetes reads a container's last words from.
const TERMINATION_MESSAGE: &str = "/dev/termination-log";

/// Prints one line. A reader that went away is no reason to stop the work.
pub(crate) fn line(text: &str) {
    writeln!(stdout(), "{text}").ok();
}

/// Prints the line that shows how far a task is.
pub(crate) fn progress(done: i64, total: i64, what: &str) {
    line(&format!("progress {done}/{total} {what}"));
}

/// Prints why the process ends: with `FallbackToLogsOnError`, the last lines of a failed task are what a person sees.
pub(crate) fn error(error: &Error) {
    writeln!(stderr(), "error: {error}").ok();
}

/// Prints a task's result, and leaves it as the container's termination message where there is one.
pub(crate) fn result(result: &Value) {
    line(&result.to_string());
    // The file is there in a container only; a task started by hand has nobody to leave a message for.
    if let Ok(mut file) = OpenOptions::new()
        .write(true)
        .truncate(true)
        .open(TERMINATION_MESSAGE)
        && let Err(error) = write!(file, "{result}")
    {
        tracing::warn!(%error, "cannot write the termination message");
    }
}
