//! The release as it goes: a line for each step and one for the traffic, drawn anew where a terminal is, and
//! written once where not.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};
use jiff::Timestamp;
use slipway_crds::v1alpha1::status::{ReleaseStatus, StepName, StepState, StepStatus};
use slipway_e2e::{progress::Progress, traffic::Live};

use super::{
    Options,
    numbers::{bar, grouped, plural},
    spoken,
};

/// The steps with a line; Preflight is over before one could read it.
fn steps() -> impl Iterator<Item = StepName> {
    let all = StepName::ALL.into_iter();
    all.filter(|step| *step != StepName::Preflight)
}

/// Where no terminal is, the traffic is told this often.
const TRAFFIC_EVERY: Duration = Duration::from_secs(10);

/// Draws the release.
pub(super) struct Screen {
    progress: Progress,
    products: u64,
    rate: u64,
    bars: Vec<ProgressBar>,
    /// What was written last about each step, where no terminal is.
    written: HashMap<StepName, String>,
    traffic_told: Option<Instant>,
    /// When documents were first counted, and how many.
    build_seen: Option<(Instant, u64)>,
}

impl Screen {
    pub(super) fn new(progress: &Progress, options: &Options) -> Self {
        Self {
            progress: progress.clone(),
            products: options.products.into(),
            rate: options.rate.into(),
            bars: Vec::new(),
            written: HashMap::new(),
            traffic_told: None,
            build_seen: None,
        }
    }

    /// A line that stays.
    pub(super) fn line(&self, text: &str) {
        self.progress.line(text);
    }

    /// The present state.
    pub(super) fn show(&mut self, status: &ReleaseStatus, live: &Live, built: Option<u64>) {
        let now = Timestamp::now();
        let of_new_version = status
            .revision
            .as_ref()
            .is_some_and(|revision| revision.previous.is_some());
        let mut lines = Vec::new();
        for name in steps() {
            let step = status
                .steps
                .iter()
                .find(|step| step.name == name)
                .filter(|_| of_new_version);
            let words = self.words(step, status, built);
            lines.push(step_line(name, step, &words, now));
        }
        let traffic = traffic_line(live, self.rate);
        if self.progress.screen().is_some() {
            lines.push(traffic);
            self.draw(&lines);
        } else {
            self.write(status, lines, &traffic);
        }
    }

    /// Leaves the lines as they are.
    pub(super) fn close(&mut self) {
        for bar in self.bars.drain(..) {
            bar.abandon();
        }
    }

    fn draw(&mut self, lines: &[String]) {
        let Some(screen) = self.progress.screen() else {
            return;
        };
        if self.bars.is_empty() {
            let style = ProgressStyle::with_template("{wide_msg}").expect("the template is valid");
            let bar = || screen.add(ProgressBar::new_spinner().with_style(style.clone()));
            self.bars = lines.iter().map(|_| bar()).collect();
        }
        for (bar, line) in self.bars.iter().zip(lines) {
            bar.set_message(line.clone());
            bar.tick();
        }
    }

    /// A step is told when it begins and when it ends, and how far it is where that takes long.
    fn write(&mut self, status: &ReleaseStatus, lines: Vec<String>, traffic: &str) {
        let due = self
            .traffic_told
            .is_none_or(|told| told.elapsed() >= TRAFFIC_EVERY);
        for (name, line) in steps().zip(lines) {
            let step = status.steps.iter().find(|step| step.name == name);
            let Some(state) = step.map(|step| step.state).filter(|_| !line.ends_with('·')) else {
                continue;
            };
            let mark = format!("{state:?}");
            let is_running = state == StepState::Running;
            if self.written.get(&name) != Some(&mark) || (is_running && due) {
                self.progress.line(&line);
                self.written.insert(name, mark);
            }
        }
        if due {
            self.traffic_told = Some(Instant::now());
            self.progress.line(traffic);
        }
    }

    fn words(&mut self, step: Option<&StepStatus>, status: &ReleaseStatus, built: Option<u64>) -> String {
        let Some(step) = step else { return String::new() };
        match (step.state, built) {
            (StepState::Running, Some(built)) if step.name == StepName::Reindex => self.build(built),
            (StepState::Running, _) => status.progress.clone().unwrap_or_default(),
            (StepState::Succeeded, _) => result(step.name, status),
            (StepState::Failed | StepState::Unknown, _) => step.message.clone().unwrap_or_default(),
            (StepState::Waiting | StepState::Skipped, _) => String::new(),
        }
    }

    /// The bar of the build, with its speed and what is left.
    fn build(&mut self, built: u64) -> String {
        let (since, before) = *self.build_seen.get_or_insert_with(|| (Instant::now(), built));
        let seconds = since.elapsed().as_secs_f64();
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a speed for the eye: digits beyond the first few do not matter"
        )]
        let speed = (built.saturating_sub(before) as f64 / seconds.max(0.5)) as u64;
        let left = self.products.saturating_sub(built).checked_div(speed);
        let left = left.filter(|left| *left > 0).map_or_else(String::new, |left| {
            format!("  {} left", spoken(Duration::from_secs(left)))
        });
        format!(
            "{} {} / {}  {}/s{left}",
            bar(built, self.products, 15),
            grouped(built),
            grouped(self.products),
            grouped(speed)
        )
    }
}

/// What came out of a step.
fn result(name: StepName, status: &ReleaseStatus) -> String {
    let tasks: Vec<_> = status.tasks.iter().filter(|task| task.step == name).collect();
    let output = |key: &str| {
        let outputs = tasks.iter().filter_map(|task| task.output.as_deref());
        let mut objects = outputs.filter_map(|text| serde_json::from_str::<serde_json::Value>(text).ok());
        objects.find_map(|object| object[key].as_u64())
    };
    let search = status.search.as_ref();
    match name {
        StepName::Prepare => tasks
            .iter()
            .map(|task| task.name.as_str())
            .collect::<Vec<_>>()
            .join(", "),
        StepName::Expand => output("migrations").map_or_else(String::new, |count| plural(count, "migration")),
        StepName::Reindex => {
            let live = search.and_then(|search| search.live.as_ref()?.token.clone());
            let token = search
                .and_then(|search| search.candidate.as_ref().map(|one| one.token.clone()))
                .or(live);
            let documents = output("documents").map(grouped).unwrap_or_default();
            let passes = plural(tasks.len().saturating_sub(1) as u64, "catch-up pass");
            format!(
                "products_{}  {documents} documents, {passes}",
                token.map_or_else(String::new, |token| token.to_string())
            )
        }
        StepName::Preboot => {
            let sides = status
                .workloads
                .iter()
                .filter_map(|workload| workload.new.as_ref());
            let ready: i32 = sides.map(|side| side.ready).sum();
            format!("{ready} new pods ready beside the old ones")
        }
        StepName::Cutover => "the traffic goes to the new pods".to_owned(),
        StepName::Watch => "the old pods stayed warm".to_owned(),
        StepName::Retire => "old pods gone, nothing of slipway between users and pods".to_owned(),
        StepName::Preflight => String::new(),
    }
}

fn step_line(name: StepName, step: Option<&StepStatus>, words: &str, now: Timestamp) -> String {
    let title = format!("{name:?}").to_lowercase();
    let Some(step) = step else {
        return format!("   {title:<10} ·");
    };
    let until = step.finished_at.unwrap_or(now);
    let time = step
        .started_at
        .and_then(|from| Duration::try_from(until.duration_since(from)).ok());
    let time = time.map(spoken).unwrap_or_default();
    let mark = match step.state {
        StepState::Waiting => return format!("   {title:<10} ·"),
        StepState::Running => '…',
        StepState::Succeeded => '✔',
        StepState::Skipped => return format!("   {title:<10} – not needed"),
        StepState::Failed | StepState::Unknown => '✘',
    };
    format!("   {title:<10} {mark} {words:<60} {time:>6}")
        .trim_end()
        .to_owned()
}

fn traffic_line(live: &Live, rate: u64) -> String {
    let side = |version: &str| {
        let count = live.last_second.answered.get(version).copied().unwrap_or(0);
        format!("shop {version}.0 {} {count:>3}/s", bar(count, rate, 12))
    };
    let wrong: u64 = live
        .pairs
        .iter()
        .filter(|(version, _)| (&*version.name == "1") != (version.index.as_deref() == Some("products")))
        .map(|(_, count)| *count)
        .sum();
    format!(
        "   {:<10} {}   {}   failed {}   wrongly paired {wrong}",
        "traffic",
        side("1"),
        side("2"),
        live.failed
    )
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use slipway_e2e::traffic::Version;

    #[test]
    fn the_traffic_line_shows_both_versions_and_wrong_pairs() {
        let pair = |name: &str, index: &str| Version {
            name: name.into(),
            index: Some(index.into()),
        };
        let mut live = Live {
            failed: 2,
            pairs: [
                (pair("1", "products"), 90),
                (pair("2", "products"), 3),
                (pair("2", "products_g2"), 5),
            ]
            .into(),
            ..Live::default()
        };
        live.last_second.answered = [(Arc::from("1"), 150), (Arc::from("2"), 50)].into();
        let expected = "   traffic    shop 1.0 ▕█████████░░░▏ 150/s   shop 2.0 ▕███░░░░░░░░░▏  50/s   failed 2   wrongly paired 3";
        assert_eq!(traffic_line(&live, 200), expected);
    }

    #[test]
    fn a_step_line_tells_state_and_time() {
        let at = |second| Timestamp::from_second(second).ok();
        let mut step = StepStatus {
            name: StepName::Expand,
            state: StepState::Succeeded,
            reason: None,
            message: None,
            started_at: at(10),
            finished_at: at(12),
            progress: None,
        };
        let line =
            |step: &StepStatus| step_line(StepName::Expand, Some(step), "1 migration", at(40).unwrap());
        let spaces = " ".repeat(52);
        assert_eq!(line(&step), format!("   expand     ✔ 1 migration{spaces}2.0s"));
        step.state = StepState::Waiting;
        assert_eq!(line(&step), "   expand     ·");
    }
}
