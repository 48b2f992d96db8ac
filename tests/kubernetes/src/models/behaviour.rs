//! What the containers of the simulated cluster do.

use std::{collections::BTreeSet, fmt, sync::Arc, time::Duration};

use serde_json::Value;

use crate::{fields, search::SearchEngine};

/// The end of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exit {
    /// How long after the start, or after SIGTERM.
    pub after: Duration,
    /// The exit code.
    pub code: i64,
    /// What it writes to its termination message.
    pub message: String,
}

impl Exit {
    /// An end without a message.
    pub fn new(after: Duration, code: i64) -> Self {
        Self {
            after,
            code,
            message: String::new(),
        }
    }
}

/// Something that a process does to the search engine, given its pod.
pub type Work = Arc<dyn Fn(&mut SearchEngine, &Value) + Send + Sync>;

/// What happens to a pod and its process.
#[derive(Clone)]
pub struct Behaviour {
    /// The time until a node is found; none when there never is one.
    pub schedule: Option<Duration>,
    /// The time to pull the image and make the container; none when the image cannot be pulled.
    pub pull: Option<Duration>,
    /// The time from the start until the process is ready; none when it never is.
    pub ready: Option<Duration>,
    /// A random addition to `ready` of up to this much.
    pub jitter: Duration,
    /// How the process ends by itself; none when it runs until it is told to end.
    pub exit: Option<Exit>,
    /// How the process ends after SIGTERM; none when it ignores it and is killed when the grace is over.
    pub terminate: Option<Exit>,
    /// What the process does, by the time since its start.
    pub work: Vec<(Duration, Work)>,
}

impl fmt::Debug for Behaviour {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Behaviour")
            .field("ready", &self.ready)
            .field("exit", &self.exit)
            .field("terminate", &self.terminate)
            .finish_non_exhaustive()
    }
}

impl Behaviour {
    /// A well-behaved server: ready after a second, drained in two.
    pub fn server() -> Self {
        Self {
            schedule: Some(Duration::from_millis(20)),
            pull: Some(Duration::from_millis(300)),
            ready: Some(Duration::from_secs(1)),
            jitter: Duration::from_millis(500),
            exit: None,
            terminate: Some(Exit::new(Duration::from_secs(2), 0)),
            work: Vec::new(),
        }
    }

    /// A task that runs for a time and ends with a code; SIGTERM ends it with 143.
    pub fn task(runs: Duration, code: i64) -> Self {
        Self {
            exit: Some(Exit::new(runs, code)),
            terminate: Some(Exit::new(Duration::from_millis(500), 143)),
            ready: Some(Duration::ZERO),
            ..Self::server()
        }
    }

    /// The same with a termination message.
    #[must_use]
    pub fn says(mut self, message: &str) -> Self {
        self.exit
            .iter_mut()
            .for_each(|exit| message.clone_into(&mut exit.message));
        self
    }

    /// The same with something done at a time after the start.
    #[must_use]
    pub fn does(
        mut self,
        after: Duration,
        work: impl Fn(&mut SearchEngine, &Value) + Send + Sync + 'static,
    ) -> Self {
        self.work.push((after, Arc::new(work)));
        self
    }

    /// A server that ends with a code soon after each start.
    pub fn crash_loop(after: Duration, code: i64) -> Self {
        Self {
            ready: None,
            exit: Some(Exit::new(after, code)),
            ..Self::server()
        }
    }

    /// A server that never becomes ready.
    pub fn never_ready() -> Self {
        Self {
            ready: None,
            ..Self::server()
        }
    }

    /// An image that cannot be pulled.
    pub fn no_image() -> Self {
        Self {
            pull: None,
            ..Self::server()
        }
    }

    /// A pod that fits on no node.
    pub fn unschedulable() -> Self {
        Self {
            schedule: None,
            ..Self::server()
        }
    }
}

/// Which pods a script is for.
pub type Matcher = Box<dyn Fn(&Value) -> bool + Send>;

/// The scripts of all containers.
#[derive(Default)]
pub struct Scripts {
    rules: Vec<(Matcher, Behaviour)>,
    /// Pods, by name, that do not answer although they would.
    pub sick: BTreeSet<String>,
    /// Pods, by name, whose process is about to be killed.
    pub killed: BTreeSet<String>,
}

impl fmt::Debug for Scripts {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} scripts", self.rules.len())
    }
}

impl Scripts {
    /// Pods for which the matcher says yes behave like this. Later scripts win.
    pub fn script(&mut self, matcher: impl Fn(&Value) -> bool + Send + 'static, behaviour: Behaviour) {
        self.rules.push((Box::new(matcher), behaviour));
    }

    /// Pods whose first container has this image behave like this.
    pub fn image(&mut self, image: &str, behaviour: Behaviour) {
        let image = image.to_owned();
        self.script(
            move |pod| fields::text(pod, "/spec/containers/0/image") == image,
            behaviour,
        );
    }

    /// Pods whose first container's command line contains this text behave like this.
    pub fn command(&mut self, part: &str, behaviour: Behaviour) {
        let part = part.to_owned();
        self.script(move |pod| command_line(pod).contains(&part), behaviour);
    }

    /// What a new pod does. Without a script: a Job's pod succeeds after two seconds, others serve.
    pub fn of(&self, pod: &Value) -> Behaviour {
        let found = self.rules.iter().rev().find(|(matcher, _)| matcher(pod));
        match found {
            Some((_, behaviour)) => behaviour.clone(),
            None if fields::text(pod, "/spec/restartPolicy") == "Never" => {
                Behaviour::task(Duration::from_secs(2), 0)
            }
            None => Behaviour::server(),
        }
    }
}

/// The command and arguments of a pod's first container, with spaces between.
pub fn command_line(pod: &Value) -> String {
    let part = |name: &str| fields::list(pod, &format!("/spec/containers/0/{name}"));
    let words = part("command")
        .iter()
        .chain(part("args"))
        .filter_map(Value::as_str);
    words.collect::<Vec<_>>().join(" ")
}

/// A variable of a pod's first container; empty when it is not set.
pub fn variable<'a>(pod: &'a Value, name: &str) -> &'a str {
    let env = fields::list(pod, "/spec/containers/0/env");
    env.iter()
        .find(|pair| pair["name"] == name)
        .map(|pair| fields::text(pair, "/value"))
        .unwrap_or_default()
}
