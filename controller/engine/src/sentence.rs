//! Parts of the sentences that people read. A sentence says what is, for how long, until when, and what one can do; a
//! remedy is a command that can be pasted, and stands at the end.

use jiff::SignedDuration;
use slipway_crds::names;
use slipway_crds::v1alpha1::status::StepName;

use crate::draft::StepInput;
use crate::intent::Meta;
use crate::progress::since;

/// The command that asks for something by annotation.
pub(crate) fn annotate(meta: &Meta, lever: &str, value: &str) -> String {
    format!(
        "kubectl annotate --overwrite release/{} -n {} {lever}={value}",
        meta.name, meta.namespace
    )
}

/// The command that asks for something of the revision at work.
pub(crate) fn ask(input: &StepInput<'_>, lever: &str) -> String {
    annotate(&input.intent.meta, lever, &input.committed.revision_name())
}

/// What a person can do after a failure; nothing once the traffic was to move: then the way back decides.
pub(crate) fn again(input: &StepInput<'_>) -> String {
    if input.committed.status.cutover.is_some() {
        return String::new();
    }
    format!(
        " After the fix put a new image in spec.image, or run this one again: {}",
        ask(input, names::RETRY)
    )
}

/// What goes on as before.
pub(crate) fn unchanged(input: &StepInput<'_>) -> String {
    format!("{} serves unchanged.", serving(input))
}

/// Name of what serves.
pub(crate) fn serving(input: &StepInput<'_>) -> String {
    let serving = input.committed.status.serving.clone();
    serving.unwrap_or_else(|| "What was there before".to_owned())
}

/// For how long a step is at work.
pub(crate) fn at_work_for(input: &StepInput<'_>, step: StepName) -> String {
    let started = input.committed.step(step).and_then(|step| step.started_at);
    human(since(input.now, started.unwrap_or(input.now)))
}

/// A length of time as kubectl writes it (`HumanDuration` of k8s.io/apimachinery/pkg/util/duration): `41s`, `2m10s`,
/// `112m`, `5h3m`, `30h`, `3d`.
pub(crate) fn human(length: SignedDuration) -> String {
    let seconds = length.as_secs().max(0);
    let (minutes, hours) = (seconds / 60, seconds / 3600);
    let two = |whole: i64, unit: char, part: i64, small: char| match part {
        0 => format!("{whole}{unit}"),
        part => format!("{whole}{unit}{part}{small}"),
    };
    match (seconds, minutes, hours) {
        (..120, _, _) => format!("{seconds}s"),
        (_, ..10, _) => two(minutes, 'm', seconds % 60, 's'),
        (_, ..180, _) => format!("{minutes}m"),
        (_, _, ..8) => two(hours, 'h', minutes % 60, 'm'),
        (_, _, ..48) => format!("{hours}h"),
        (_, _, ..192) => two(hours / 24, 'd', hours % 24, 'h'),
        (_, _, ..17_520) => format!("{}d", hours / 24),
        (_, _, ..70_080) => two(hours / 8760, 'y', hours / 24 % 365, 'd'),
        (_, _, _) => format!("{}y", hours / 8760),
    }
}

/// `1 pod`, `3 pods`.
pub(crate) fn count(number: i32, word: &str) -> String {
    let s = if number == 1 { "" } else { "s" };
    format!("{number} {word}{s}")
}
