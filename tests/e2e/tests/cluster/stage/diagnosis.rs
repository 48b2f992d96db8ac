//! What a person would look at when a test waits in vain.

use super::Stage;
use super::install::SYSTEM;
use super::verbs::kubectl;

impl Stage {
    /// Status, pods, events and the controller's log.
    pub(crate) async fn diagnosis(&self) -> String {
        let looks: [(&str, &[&str]); 5] = [
            (
                &self.namespace,
                &["get", "release", "shop", "-o", "yaml", "--ignore-not-found"],
            ),
            (
                &self.namespace,
                &[
                    "get",
                    "deployments,replicasets,pods,jobs",
                    "--show-labels",
                    "--no-headers",
                ],
            ),
            (
                &self.namespace,
                &["get", "services", "-o", "wide", "--no-headers"],
            ),
            (
                &self.namespace,
                &["get", "events", "--sort-by=.lastTimestamp", "--no-headers"],
            ),
            (
                SYSTEM,
                &[
                    "logs",
                    "--selector=app.kubernetes.io/name=slipway",
                    "--tail=400",
                    "--prefix",
                ],
            ),
        ];
        let mut text = self.observer.so_far().transcript();
        for (namespace, arguments) in looks {
            let said = kubectl(&self.cluster, namespace, arguments, "").await;
            let said = said.unwrap_or_else(|error| error.to_string());
            let said = match namespace {
                SYSTEM => self.about_this(&said),
                _ => said,
            };
            text = format!("{text}\n--- kubectl {}\n{said}", arguments.join(" "));
        }
        text
    }

    /// The lines of the controller's log that are about this namespace.
    fn about_this(&self, log: &str) -> String {
        let name = format!("\"{}\"", self.namespace);
        log.lines()
            .filter(|line| line.contains(&name))
            .collect::<Vec<_>>()
            .join("\n")
    }
}
