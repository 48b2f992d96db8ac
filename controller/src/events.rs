//! Kubernetes events, written beside the work: an event that cannot be written never fails a reconcile.
//!
//! One [`Recorder`] serves the whole process, because it joins repeats within about six minutes into a series. Its
//! key holds type, reason, action and object but **not the note**: a repeat re-sends the first note. So whatever
//! must be told apart (an attempt, a revision) belongs into `action`.

use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Client,
    runtime::events::{Event, EventType, Recorder, Reporter},
};
use tokio::sync::mpsc;

use crate::metrics::Metrics;

/// The name under which events are reported.
pub const REPORTER: &str = "slipway.dev/controller";
/// The API server refuses longer notes, in bytes.
pub const MAX_NOTE: usize = 1024;
/// The API server refuses longer reasons and actions, in bytes.
pub const MAX_WORD: usize = 128;
/// Events that may wait to be written; more are dropped and counted. A release tells about a dozen.
const QUEUE: usize = 256;

/// Takes events to be written. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Events {
    queue: mpsc::Sender<(ObjectReference, Event)>,
    metrics: Metrics,
}

/// Writes what [`Events`] takes, one after the other, so that the story keeps its order.
pub struct EventWriter {
    queue: mpsc::Receiver<(ObjectReference, Event)>,
    recorder: Recorder,
    metrics: Metrics,
}

/// The two ends of the event queue. `instance` is the pod's name.
pub fn events(client: Client, instance: &str, metrics: Metrics) -> (Events, EventWriter) {
    let (sender, receiver) = mpsc::channel(QUEUE);
    let reporter = Reporter {
        controller: REPORTER.to_owned(),
        instance: Some(instance.to_owned()),
    };
    let writer = EventWriter {
        queue: receiver,
        recorder: Recorder::new(client, reporter),
        metrics: metrics.clone(),
    };
    (
        Events {
            queue: sender,
            metrics,
        },
        writer,
    )
}

impl Events {
    /// Queues one event about `about`. A note that is too long is cut, with an ellipsis.
    pub fn publish(&self, about: ObjectReference, kind: EventType, reason: &str, action: &str, note: &str) {
        let event = Event {
            type_: kind,
            reason: shorten(reason, MAX_WORD),
            action: shorten(action, MAX_WORD),
            note: Some(shorten(note, MAX_NOTE)),
            secondary: None,
        };
        if let Err(full) = self.queue.try_send((about, event)) {
            self.metrics.event_lost();
            tracing::warn!(reason, error = %full, "event dropped");
        }
    }
}

impl EventWriter {
    /// Writes events until `stop` is done; then what is queued, and no more. To be awaited before the Lease is
    /// released: afterwards nothing may be written.
    pub async fn run(mut self, stop: impl Future<Output = ()>) {
        tokio::pin!(stop);
        loop {
            tokio::select! {
                biased;
                () = &mut stop => break,
                next = self.queue.recv() => match next {
                    Some((about, event)) => self.write(&about, &event).await,
                    None => return,
                },
            }
        }
        self.queue.close();
        while let Some((about, event)) = self.queue.recv().await {
            self.write(&about, &event).await;
        }
    }

    async fn write(&self, about: &ObjectReference, event: &Event) {
        if let Err(error) = self.recorder.publish(event, about).await {
            self.metrics.event_lost();
            tracing::warn!(reason = event.reason, %error, "event not written");
        }
    }
}

/// `text`, cut to `limit` bytes at a character boundary.
fn shorten(text: &str, limit: usize) -> String {
    const ELLIPSIS: &str = "…";
    if text.len() <= limit {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(limit - ELLIPSIS.len());
    let kept = text.get(..end).unwrap_or_default();
    format!("{kept}{ELLIPSIS}")
}

#[cfg(test)]
mod tests {
    use std::{pin::pin, time::Duration};

    use http::{Request, Response};
    use kube::client::Body;
    use serde_json::Value;
    use tower_test::mock;

    use super::*;

    fn shop() -> ObjectReference {
        ObjectReference {
            api_version: Some("slipway.dev/v1alpha1".into()),
            kind: Some("Release".into()),
            namespace: Some("apps".into()),
            name: Some("shop".into()),
            uid: Some("uid-1".into()),
            ..ObjectReference::default()
        }
    }

    #[test]
    fn notes_are_cut_at_a_character_boundary() {
        assert_eq!(shorten("short", MAX_NOTE), "short");
        let cut = shorten(&"ä".repeat(600), MAX_NOTE);
        assert!(cut.len() <= MAX_NOTE && cut.ends_with('…'), "{}", cut.len());
    }

    #[tokio::test(start_paused = true)]
    async fn queued_events_are_written_in_order_after_stop_and_refusals_are_counted() {
        let (service, handle) = mock::pair::<Request<Body>, Response<Body>>();
        let metrics = Metrics::new();
        let (events, writer) = events(Client::new(service, "apps"), "slipway-0", metrics.clone());
        events.publish(
            shop(),
            EventType::Normal,
            "TaskStarted",
            "expand/1",
            "expand: Job shop-7-expand-1",
        );
        events.publish(
            shop(),
            EventType::Warning,
            "MigrationFailed",
            "expand/1",
            "exit 1",
        );

        let server = tokio::spawn(async move {
            let mut handle = pin!(handle);
            let mut bodies = Vec::new();
            for status in [201, 403] {
                let (request, respond) = handle.next_request().await.unwrap();
                assert_eq!(
                    request.uri().path(),
                    "/apis/events.k8s.io/v1/namespaces/apps/events"
                );
                let body = request.into_body().collect_bytes().await.unwrap();
                respond.send_response(
                    Response::builder()
                        .status(status)
                        .body(Body::from(body.to_vec()))
                        .unwrap(),
                );
                bodies.push(serde_json::from_slice::<Value>(&body).unwrap());
            }
            bodies
        });
        tokio::time::timeout(Duration::from_secs(1), writer.run(async {}))
            .await
            .unwrap();
        let bodies = server.await.unwrap();
        assert_eq!(bodies[0]["reason"], "TaskStarted");
        assert_eq!(bodies[0]["action"], "expand/1");
        assert_eq!(bodies[1]["type"], "Warning");
        assert_eq!(bodies[1]["reportingInstance"], "slipway-0");
        assert!(metrics.encode().unwrap().contains("slipway_events_lost_total 1"));
    }

    #[tokio::test]
    async fn a_full_queue_drops_instead_of_waiting() {
        let (service, _handle) = mock::pair::<Request<Body>, Response<Body>>();
        let metrics = Metrics::new();
        let (events, _writer) = events(Client::new(service, "apps"), "slipway-0", metrics.clone());
        for _ in 0..=QUEUE {
            events.publish(shop(), EventType::Normal, "Planned", "shop-7", "");
        }
        assert!(metrics.encode().unwrap().contains("slipway_events_lost_total 1"));
    }
}
