//! Parts of the sentences that people read. A sentence says what is, for how long, until when, and what one can do; a
//! remedy is a command that can be pasted, and stands at the end.

use slipway_crds::v1alpha1::status::StepName;
use slipway_crds::{IndexName, RevisionName, names};

use crate::draft::StepInput;
use crate::intent::Meta;
use crate::progress::since;
pub(crate) use crate::spoken::human;

/// The command that asks for something by annotation.
pub(crate) fn annotate(meta: &Meta, lever: &str, revision: &RevisionName) -> String {
    format!(
        "kubectl annotate --overwrite release/{} -n {} {lever}={revision}",
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
    let serving = input.committed.status.serving.as_ref();
    serving.map_or_else(|| "What was there before".to_owned(), ToString::to_string)
}

/// For how long a step is at work.
pub(crate) fn at_work_for(input: &StepInput<'_>, step: StepName) -> String {
    let started = input.committed.step(step).and_then(|step| step.started_at);
    human(since(input.now, started.unwrap_or(input.now)))
}

/// `products_a and products_b`.
pub(crate) fn and(indices: &[IndexName]) -> String {
    let names: Vec<&str> = indices.iter().map(IndexName::as_str).collect();
    names.join(" and ")
}

/// `1 pod`, `3 pods`.
pub(crate) fn count(number: i32, word: &str) -> String {
    let s = if number == 1 { "" } else { "s" };
    format!("{number} {word}{s}")
}
