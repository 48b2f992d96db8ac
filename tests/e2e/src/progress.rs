//! Says on the terminal what is going on: spinners where someone watches, plain lines where a file does.

use std::{
    io::IsTerminal,
    sync::Mutex,
    time::{Duration, Instant},
};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

/// Where long work reports to. Cheap to clone; all clones share one screen.
#[derive(Clone, Debug)]
pub struct Progress {
    /// `None` where standard error is not a terminal.
    screen: Option<MultiProgress>,
}

/// One piece of work that the reader waits for. Dropped before [`Stage::done`], it shows as failed.
#[derive(Debug)]
pub struct Stage {
    title: String,
    started: Instant,
    bar: Option<ProgressBar>,
    last_note: Mutex<String>,
    finished: bool,
}

impl Default for Progress {
    fn default() -> Self {
        Self::new()
    }
}

impl Progress {
    /// Reports to standard error.
    pub fn new() -> Self {
        let screen = std::io::stderr().is_terminal().then(MultiProgress::new);
        Self { screen }
    }

    /// The bars of the terminal, for work that draws its own; `None` where no terminal is.
    pub fn screen(&self) -> Option<&MultiProgress> {
        self.screen.as_ref()
    }

    /// Prints lines of a result to standard output, above the bars where there are any.
    pub fn line(&self, text: &str) {
        match &self.screen {
            Some(screen) => screen.suspend(|| println!("{text}")),
            None => println!("{text}"),
        }
    }

    /// Opens a stage with a short title such as `node ready`.
    pub fn stage(&self, title: &str) -> Stage {
        let bar = self.screen.as_ref().map(|screen| {
            let bar = screen.add(ProgressBar::new_spinner());
            let style = ProgressStyle::with_template(" {spinner} {prefix:<22} {wide_msg} {elapsed:>4}")
                .expect("the template is valid")
                .tick_chars("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏ ");
            bar.set_style(style);
            bar.set_prefix(title.to_owned());
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        Stage {
            title: title.to_owned(),
            started: Instant::now(),
            bar,
            last_note: Mutex::default(),
            finished: false,
        }
    }
}

impl Stage {
    /// Says what the stage does now, and how far it is. Repeating the last note says nothing new.
    pub fn note(&self, text: &str) {
        let mut last = self.last_note.lock().expect("no holder of this lock panics");
        if *last == text {
            return;
        }
        text.clone_into(&mut last);
        match &self.bar {
            Some(bar) => bar.set_message(text.to_owned()),
            None => eprintln!(" · {:<22} {text}", self.title),
        }
    }

    /// Like [`Stage::note`], but only on a terminal: for notes that follow each other too fast for a log.
    pub fn flash(&self, text: &str) {
        if let Some(bar) = &self.bar {
            bar.set_message(text.to_owned());
        }
    }

    /// Time since the stage was opened.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Closes the stage with what came out of it.
    pub fn done(mut self, text: &str) {
        self.finish('✔', text);
    }

    /// Closes the stage with the time it took.
    pub fn done_in_time(self) {
        let text = format!("{:.1}s", self.elapsed().as_secs_f64());
        self.done(&text);
    }

    fn finish(&mut self, mark: char, text: &str) {
        self.finished = true;
        let line = format!(" {mark} {:<22} {text}", self.title);
        match &self.bar {
            Some(bar) => {
                bar.set_style(ProgressStyle::with_template("{msg}").expect("the template is valid"));
                bar.finish_with_message(line);
            }
            None => eprintln!("{line}"),
        }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if !self.finished {
            let last = self.last_note.lock().map(|note| note.clone()).unwrap_or_default();
            self.finish('✘', &last);
        }
    }
}
