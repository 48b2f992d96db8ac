//! How errors are told, and told apart.

use crate::{
    client::{CallError, call_error},
    execute, reconcile,
    search::SearchError,
};

/// An error with all its causes, in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        line = format!("{line}: {next}");
        cause = next.source();
    }
    line
}

/// The class of a pass's failure, for metrics.
pub fn class(error: &reconcile::Error) -> &'static str {
    match error {
        reconcile::Error::Commit(source)
        | reconcile::Error::ReadAgain(source)
        | reconcile::Error::Execute(execute::Error::Kubernetes { source, .. }) => kubernetes(source),
        reconcile::Error::Execute(execute::Error::Search { source, .. }) => search(source),
        reconcile::Error::Execute(execute::Error::NoSearch { .. }) => "unavailable",
        reconcile::Error::Invariant(_) => "invariant",
        reconcile::Error::Restless => "restless",
    }
}

fn kubernetes(error: &kube::Error) -> &'static str {
    match (call_error(error), error) {
        (Some(CallError::Fenced | CallError::CutOff), _) => "fenced",
        (Some(CallError::Late(_)), _) => "timeout",
        (None, kube::Error::Api(status)) => http(status.code),
        (None, kube::Error::SerdeError(_) | kube::Error::FromUtf8(_)) => "unreadable",
        (None, _) => "unavailable",
    }
}

fn search(error: &SearchError) -> &'static str {
    match error {
        SearchError::Unreachable { .. } => "unavailable",
        SearchError::OutcomeUnknown { .. } => "unknown",
        SearchError::Refused { status, .. } => http(*status),
        SearchError::Unreadable { .. } => "unreadable",
        SearchError::Fenced => "fenced",
        SearchError::InvalidName { .. } => "invalid",
    }
}

fn http(status: u16) -> &'static str {
    match status {
        401 | 403 => "forbidden",
        404 => "not_found",
        408 | 504 => "timeout",
        409 => "conflict",
        400 | 422 => "invalid",
        429 | 500.. => "unavailable",
        _ => "refused",
    }
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    #[test]
    fn a_failure_has_a_class() {
        let answer = |code| {
            let status = Status {
                code,
                ..Status::default()
            };
            kube::Error::Api(Box::new(status))
        };
        let late = CallError::Late(std::time::Duration::from_secs(10));
        let classes = [
            (answer(403), "forbidden"),
            (answer(422), "invalid"),
            (answer(409), "conflict"),
            (answer(504), "timeout"),
            (answer(500), "unavailable"),
            (answer(418), "refused"),
            (kube::Error::Service(Box::new(late)), "timeout"),
            (kube::Error::Service(Box::new(CallError::Fenced)), "fenced"),
            (kube::Error::TlsRequired, "unavailable"),
        ];
        for (error, word) in classes {
            assert_eq!(class(&reconcile::Error::Commit(Box::new(error))), word);
        }
        assert_eq!(class(&reconcile::Error::Restless), "restless");
    }
}
