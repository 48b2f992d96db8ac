//! Runs a command with its output kept, so that all of it can be shown when it fails.

use std::{
    cell::{Cell, RefCell},
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Result, anyhow};
use slipway_e2e::{
    packages::run_shown,
    progress::{Progress, Stage},
};

/// Where no terminal is, a sign of life this often.
const SIGN_OF_LIFE: Duration = Duration::from_secs(30);

/// The place of one check on the screen.
pub(super) struct Shown<'a> {
    progress: &'a Progress,
    stage: &'a Stage,
    last_note: Cell<Instant>,
    commands: Cell<usize>,
}

impl<'a> Shown<'a> {
    pub(super) fn new(progress: &'a Progress, stage: &'a Stage) -> Self {
        Self {
            progress,
            stage,
            last_note: Cell::new(Instant::now()),
            commands: Cell::new(0),
        }
    }

    /// For work that reports there itself.
    pub(super) fn stage(&self) -> &'a Stage {
        self.stage
    }

    /// Runs a command and returns its lines; the error has all of them. Lines with the result of tests are
    /// passed on as they come.
    pub(super) fn run(&self, command: &mut Command) -> Result<Vec<String>> {
        let said = spoken(command);
        // A check of many commands tells the first; the others follow fast.
        if self.commands.replace(self.commands.get() + 1) == 0 {
            self.stage.note(&said);
        } else {
            self.stage.flash(&said);
        }
        let lines = RefCell::new(Vec::new());
        let result = run_shown(command, |line| {
            self.show(line);
            lines.borrow_mut().push(line.to_owned());
        });
        let lines = lines.into_inner();
        match result {
            Ok(()) => Ok(lines),
            Err(error) if lines.is_empty() => Err(error.context(said)),
            Err(_) => Err(anyhow!("{}\n`{said}` failed", lines.join("\n"))),
        }
    }

    fn show(&self, line: &str) {
        if line.starts_with("test result: ") {
            self.progress.line(line);
        }
        let text = line.trim();
        if text.is_empty() || text.starts_with('{') {
            return;
        }
        if self.last_note.get().elapsed() > SIGN_OF_LIFE {
            self.last_note.set(Instant::now());
            self.stage.note(text);
        } else {
            self.stage.flash(text);
        }
    }
}

/// The sum of the passed tests in the `test result` lines, in words.
pub(super) fn tests_passed(lines: &[String]) -> String {
    let results = lines
        .iter()
        .filter_map(|line| line.strip_prefix("test result: ok. "));
    let numbers = results.filter_map(|rest| rest.split(' ').next()?.parse::<u64>().ok());
    format!("{} tests passed", numbers.sum::<u64>())
}

/// The command as a person would type it.
fn spoken(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or_default();
    let arguments = command
        .get_args()
        .map(|argument| argument.to_string_lossy().into_owned());
    [program.to_string_lossy().into_owned()]
        .into_iter()
        .chain(arguments)
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passed_tests_are_summed() {
        let lines = [
            "running 2 tests",
            "test result: ok. 2 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.1s",
            "test result: ok. 40 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.1s",
        ]
        .map(str::to_owned);
        assert_eq!(tests_passed(&lines), "42 tests passed");
    }

    #[test]
    fn a_failed_command_says_everything() {
        let progress = Progress::new();
        let stage = progress.stage("example");
        let shown = Shown::new(&progress, &stage);
        let mut command = Command::new("sh");
        command.args(["-c", "seq 1 30; echo broken >&2; exit 3"]);
        let error = shown.run(&mut command).expect_err("it exits 3").to_string();
        assert!(
            error.starts_with("1\n2\n") && error.contains("broken\n`sh -c"),
            "{error}"
        );
        let missing = shown
            .run(&mut Command::new("no-such-program-here"))
            .expect_err("there is none");
        assert!(
            format!("{missing:#}").contains("cannot start no-such-program-here"),
            "{missing:#}"
        );
    }
}
