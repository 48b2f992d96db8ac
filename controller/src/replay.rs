//! Recorded decisions, made again from what they rested on: a bug report is a file.

use std::fmt::Write as _;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;
use slipway_crds::v1alpha1::Phase;
use slipway_engine::{Intent, Observed, Progress, decide, transcript::lines};

/// A decision as the debug page shows it.
#[derive(Debug, Deserialize)]
struct Record {
    at: Timestamp,
    intent: Intent,
    committed: Progress,
    observed: Observed,
    decision: Value,
    broken: Vec<String>,
}

/// The transcript of recorded decisions, oldest first. Where this version of Slipway decides otherwise than the one
/// that recorded, it says so.
///
/// # Errors
/// When the text is not what the debug page shows.
pub fn replay(recorded: &str) -> Result<String, serde_json::Error> {
    let records: Vec<Record> = serde_json::from_str(recorded)?;
    Ok(records.iter().map(transcript).collect())
}

fn transcript(record: &Record) -> String {
    let decision = decide(&record.intent, &record.committed, &record.observed, record.at);
    let same = serde_json::to_value(&decision).is_ok_and(|again| again == record.decision);
    let phase = decision.progress.status.phase.unwrap_or(Phase::Pending).word();
    let broken = record
        .broken
        .iter()
        .map(|broken| format!("dropped, because it would break an invariant: {broken}"));
    let otherwise = (!same).then(|| "this version decides otherwise than what was recorded".to_owned());
    let told = lines(&decision).into_iter().chain(broken).chain(otherwise);
    told.fold(String::new(), |mut text, line| {
        let _infallible = writeln!(text, "{:.1}  {phase:<11}  {line}", record.at);
        text
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use slipway_crds::v1alpha1::Release;

    use super::*;

    fn recorded(change: impl Fn(&mut Value)) -> String {
        let release: Release = serde_json::from_value(json!({
            "apiVersion": "slipway.dev/v1alpha1",
            "kind": "Release",
            "metadata": {
                "name": "shop", "namespace": "shop", "uid": "1", "generation": 1, "resourceVersion": "1",
                "finalizers": ["slipway.dev/release"],
            },
            "spec": {"image": "shop:1", "workloads": [{"name": "web", "deployment": "web"}]},
        }))
        .unwrap();
        let (intent, committed, observed) =
            (Intent::parse(&release), Progress::default(), Observed::default());
        let at: Timestamp = "2026-01-05T10:00:00Z".parse().unwrap();
        let mut decision = serde_json::to_value(decide(&intent, &committed, &observed, at)).unwrap();
        change(&mut decision);
        json!([{
            "at": at, "intent": intent, "committed": committed, "observed": observed,
            "decision": decision, "broken": [],
        }])
        .to_string()
    }

    #[test]
    fn what_was_decided_is_decided_again() {
        let transcript = replay(&recorded(|_| {})).unwrap();
        assert_eq!(
            transcript,
            "2026-01-05T10:00:00.0Z  Pending      (Stalled DeploymentMissing: spec.workloads[0]: there is no Deployment web in this namespace. Create it, or correct the name.)\n"
        );
    }

    #[test]
    fn a_version_that_decides_otherwise_says_so() {
        let transcript = replay(&recorded(|decision| decision["wake"] = json!("Never"))).unwrap();
        assert!(
            transcript.contains("this version decides otherwise"),
            "{transcript}"
        );
    }

    #[test]
    fn what_is_no_record_is_refused() {
        assert!(replay("{}").is_err());
    }
}
