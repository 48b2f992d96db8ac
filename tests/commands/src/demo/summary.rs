//! The table at the end.

use slipway_crds::v1alpha1::status::StepState;
use std::time::Duration;

use super::{account::Counted, journey::Told, numbers::grouped, spoken};

/// Everything that came of it.
pub(super) fn text(told: &Told) -> String {
    let mut lines = vec![String::new(), headline(told), steps(told)];
    lines.push(requests(told));
    lines.push(documents(told));
    lines.push(api(told));
    let memory: Vec<String> = told.memory.iter().map(|size| format!("{size:.1}")).collect();
    lines.push(row(
        "memory",
        &format!("{} MiB (each replica of slipway)", memory.join(" and ")),
    ));
    lines.extend(told.problems.iter().map(|problem| format!("\n ✘ {problem}")));
    lines.join("\n")
}

fn headline(told: &Told) -> String {
    let version = told.version.replace(':', " ");
    match (&told.whole, told.problems.is_empty()) {
        (Some((whole, own)), true) => {
            let own = own.as_secs_f64();
            format!(
                " {version} is live. {} in all, {own:.2}s of it by slipway itself.",
                spoken(*whole)
            )
        }
        _ => format!(" {version}: not as promised; see below."),
    }
}

fn steps(told: &Told) -> String {
    let mut lines = vec![format!(" {:<11} {:>7}   of which slipway", "step", "time")];
    for step in &told.steps {
        let name = format!("{:?}", step.name).to_lowercase();
        lines.push(match (&step.times, step.state) {
            (Some((time, own)), _) => format!(" {name:<11} {:>7}   {}", spoken(*time), precise(*own)),
            (None, StepState::Skipped) => format!(" {name:<11} {:>7}", "–"),
            (None, state) => format!(" {name:<11} {:>7}", format!("{state:?}").to_lowercase()),
        });
    }
    lines.join("\n")
}

fn precise(time: Duration) -> String {
    format!("{:.2}s", time.as_secs_f64())
}

fn requests(told: &Told) -> String {
    let report = &told.traffic;
    let count = |number: usize| grouped(number as u64);
    let by_version: Vec<String> = report
        .by_version()
        .into_iter()
        .map(|(version, answers)| format!("shop {version}.0 {}", count(answers)))
        .collect();
    let milliseconds = |percent| report.percentile(percent).as_millis();
    let mut text = row(
        "requests",
        &format!(
            "{} ({})   failed {}   wrongly paired {}   median {}ms   slowest {}ms",
            count(report.total()),
            by_version.join(", "),
            report.failed(),
            told.wrongly_paired,
            milliseconds(50),
            milliseconds(100)
        ),
    );
    if report.not_sent > 0 {
        let late = format!(
            "{} more that this machine was too busy to send",
            grouped(report.not_sent)
        );
        text = format!("{text}\n{}", row("", &late));
    }
    text
}

fn documents(told: &Told) -> String {
    let (old, watermark) = &told.old_index;
    let number = |key: &str| {
        told.comparison[key]
            .as_u64()
            .map_or_else(|| "?".to_owned(), grouped)
    };
    row(
        "documents",
        &format!(
            "{old} {} (as at cutover) → {} {}   missing {}   stale {}   extra {}",
            grouped(watermark.documents),
            told.new_index,
            number("documents"),
            number("missing"),
            number("stale"),
            number("extra")
        ),
    )
}

fn api(told: &Told) -> String {
    let Counted {
        rollout,
        tasks,
        told: spoken,
        idle,
    } = told.requests;
    row(
        "API",
        &format!(
            "{} requests by slipway ({rollout} for the rollout, {tasks} for {} tasks and the search), {spoken} to \
             tell of it (Events, progress), {idle} in the last 10s",
            rollout + tasks,
            told.tasks
        ),
    )
}

fn row(title: &str, text: &str) -> String {
    format!(" {title:<11} {text}")
}
