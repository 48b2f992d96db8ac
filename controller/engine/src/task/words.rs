//! What a task said, in few words: of its last lines, those that say what went wrong.
//!
//! The kubelet gives at most 2,048 bytes of a failed container's log, or 4,096 of a message that it wrote itself. The
//! last lines are rarely the error: stack frames and the remarks of task runners come after it.

use super::secrets::masked;

/// Longest text kept in status, in bytes.
const KEPT: usize = 1024;

/// Longest text within a sentence, in bytes.
const SPOKEN: usize = 600;

/// The kubelet's limits for a log and for a written message (`MaxContainerTerminationMessageLogLength` and
/// `MaxContainerTerminationMessageLength`). It keeps the end: what is as long begins in the middle of a line.
const CUT: [usize; 2] = [2048, 4096];

/// How many lines before the first error are kept: the migration, the statement.
const BEFORE: usize = 2;

/// What a line is to somebody who asks what went wrong.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Role {
    /// Names an error.
    Error,
    /// Says nothing itself: what follows is the error.
    Heading,
    /// A frame of a stack, or a remark after the error.
    Frame,
    /// Nothing to read.
    Blank,
    /// Anything else: a part of the error before it, or what was done before one.
    Other,
}

/// What status keeps of a failed task's words: what went wrong, or the last lines where no line says so.
pub(super) fn essence(message: &str) -> String {
    let text = masked(message);
    let lines = if CUT.contains(&message.len()) {
        text.split_once('\n').map_or(text.as_str(), |(_, rest)| rest)
    } else {
        text.as_str()
    };
    let chosen = errors(lines);
    if chosen.is_empty() {
        return last(message);
    }
    fitted(chosen, "\n", KEPT)
}

/// The last lines, without a choice.
pub(super) fn last(message: &str) -> String {
    let text = masked(message);
    fitted(others(&text), "\n", KEPT)
}

/// The same as part of a sentence. Takes what [`essence`] or [`last`] gave.
pub(super) fn in_a_sentence(kept: &str) -> String {
    let mut chosen = errors(kept);
    if chosen.is_empty() {
        chosen = others(kept);
        chosen.drain(..chosen.len().saturating_sub(3));
    }
    let lines = chosen.into_iter().map(|(role, line)| (role, line.trim()));
    fitted(lines.collect(), " | ", SPOKEN)
}

fn others(text: &str) -> Vec<(Role, &str)> {
    let lines = text.lines().map(str::trim_end).filter(|line| !line.is_empty());
    lines.map(|line| (Role::Other, line)).collect()
}

/// The lines that name an error, with what belongs to them; none where no line does.
fn errors(text: &str) -> Vec<(Role, &str)> {
    let mut before = Vec::new();
    let mut chosen: Vec<(Role, &str)> = Vec::new();
    let (mut within, mut framed) = (false, false);
    for line in text.lines().map(str::trim_end) {
        let role = role(line.trim_start());
        match role {
            Role::Frame => (within, framed) = (false, true),
            Role::Heading => within = true,
            Role::Error => {
                within = true;
                if !repeats(&chosen, line) {
                    chosen.push((role, line));
                }
            }
            Role::Other if within => {
                if chosen.iter().all(|(_, known)| *known != line) {
                    chosen.push((role, line));
                }
            }
            // After a frame of Python stands its code.
            Role::Other if chosen.is_empty() && !framed => before.push((role, line)),
            Role::Other | Role::Blank => {}
        }
    }
    if chosen.is_empty() {
        return chosen;
    }
    before.drain(..before.len().saturating_sub(BEFORE));
    before.extend(chosen);
    before
}

/// Whether an error says again what an earlier one has said, as a wrapper of it does.
fn repeats(chosen: &[(Role, &str)], line: &str) -> bool {
    let words = line.split_once(": ").map_or(line, |(_, words)| words);
    chosen
        .iter()
        .any(|(_, known)| known.contains(words.trim()) && words.len() > 8)
}

/// Joins the lines within the limit. What does not name an error goes first, the oldest before the newer; of a long
/// line the beginning stays.
fn fitted(mut lines: Vec<(Role, &str)>, joint: &str, limit: usize) -> String {
    let longest = if lines.len() > 1 { limit / 2 } else { limit };
    for (_, line) in &mut lines {
        *line = line.split_at(line.floor_char_boundary(longest)).0;
    }
    let length = |lines: &[(Role, &str)]| {
        lines
            .iter()
            .map(|(_, line)| line.len() + joint.len())
            .sum::<usize>()
    };
    while length(&lines) > limit + joint.len() {
        let oldest = lines.iter().position(|(role, _)| *role == Role::Other);
        lines.remove(oldest.unwrap_or_default());
    }
    let lines: Vec<&str> = lines.into_iter().map(|(_, line)| line).collect();
    lines.join(joint)
}

fn role(line: &str) -> Role {
    if line.chars().all(|letter| !letter.is_alphanumeric()) {
        Role::Blank
    } else if line == "Caused by:" || line.ends_with("aborted!") {
        Role::Heading
    } else if is_frame(line) {
        Role::Frame
    } else if is_error(line) {
        Role::Error
    } else {
        Role::Other
    }
}

fn is_frame(line: &str) -> bool {
    // JavaScript, Java and Laravel; Python; Laravel's and Go's; npm's and yarn's last words; SQLAlchemy's.
    const STARTS: [&str; 17] = [
        "at ",
        "File \"",
        "Traceback (most recent call last)",
        "The above exception was",
        "During handling of the above exception",
        "goroutine ",
        "exit status ",
        "... ",
        "#",
        "+",
        "note: run with `RUST_BACKTRACE",
        "Tasks: TOP =>",
        "(See full trace by",
        "(Background on this error at",
        "npm ERR!",
        "npm error",
        "error Command failed with exit code",
    ];
    // Ruby; Go; Elixir and Erlang; Rust.
    const PARTS: [&str; 7] = [
        ":in `",
        ":in '",
        " +0x",
        ".ex:",
        ".exs:",
        ".erl:",
        "tack backtrace:",
    ];
    STARTS.iter().any(|start| line.starts_with(start)) || PARTS.iter().any(|part| line.contains(part))
}

fn is_error(line: &str) -> bool {
    const STARTS: [&str; 5] = [
        "** (",
        "panic: ",
        "Caused by: ",
        "Exception in thread ",
        "Uncaught ",
    ];
    // Databases and most loggers; libraries; PDO and pgx; Rust; JSON and logfmt; Flyway, Liquibase, Knex, migrate.
    const PARTS: [&str; 17] = [
        "ERROR",
        "FATAL",
        "Error: ",
        "error: ",
        "Exception: ",
        "Database error",
        "SQLSTATE",
        "panicked at ",
        "\"level\":\"error\"",
        "\"level\":\"fatal\"",
        "level=error",
        "level=fatal",
        "fatal: ",
        "igration failed",
        "failed with error",
        "Unexpected error running",
        "Reason: ",
    ];
    STARTS.iter().any(|start| line.starts_with(start))
        || PARTS.iter().any(|part| line.contains(part))
        || is_exception(line)
}

/// Whether a line begins with the name of an exception: `PG::NotNullViolation: …`, `psycopg2.errors.DuplicateColumn: …`.
fn is_exception(line: &str) -> bool {
    let name = line.split_once(": ").map_or(line, |(name, _)| name);
    let name = name.trim_end_matches(':');
    let is_one_word = name
        .chars()
        .all(|letter| letter.is_alphanumeric() || "_.:\\$".contains(letter));
    let ends = |end: &str| name.ends_with(end);
    is_one_word && (ends("Error") || ends("Exception") || name.contains("::") || name.contains(".errors."))
}

#[cfg(test)]
mod tests;
