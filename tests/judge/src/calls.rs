//! The log of calls: what clients asked for, and what they got.

use std::{collections::BTreeMap, fmt, sync::Arc};

use jiff::Timestamp;
use serde_json::Value;
use slipway_kubernetes::{clock, kind::Kind, random};

/// One call of a client.
#[derive(Clone, Debug, Default)]
pub struct Call {
    /// When it was made.
    pub at: Timestamp,
    /// Who made it.
    pub actor: Arc<str>,
    /// Its number among all calls of this client, from 0.
    pub index: usize,
    /// Its number among the mutating calls of this client, from 0; for others the number of writes so far.
    pub write: usize,
    /// The verb as audit names it: get, list, watch, create, update, patch, delete, deletecollection.
    pub verb: &'static str,
    /// The path.
    pub path: String,
    /// The kind asked for; none for the server's own pages.
    pub kind: Option<Kind>,
    /// The namespace; empty for none.
    pub namespace: String,
    /// The name of the object; empty for a collection, for a creation the name in the body.
    pub name: String,
    /// The subresource; empty for none.
    pub subresource: String,
    /// The query parameters.
    pub query: BTreeMap<String, String>,
    /// The body.
    pub body: Arc<Value>,
    /// The status of the answer; none while it is out, or when there was none.
    pub code: Option<u16>,
    /// The fault that it met.
    pub fault: Option<String>,
}

impl Call {
    /// Whether the call may change something.
    pub fn mutating(&self) -> bool {
        !matches!(self.verb, "get" | "list" | "watch")
    }

    /// Whether the call changed something, or may have: it was sent and not refused.
    pub fn effective(&self) -> bool {
        self.mutating() && self.code.is_none_or(|code| code < 400)
    }

    /// Eight hexadecimal digits that stand for the body.
    pub fn digest(&self) -> String {
        let digest = random::digest(self.body.to_string().as_bytes());
        format!("{:08x}", digest & 0xffff_ffff)
    }
}

impl fmt::Display for Call {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (time, verb, digest) = (clock::micros(self.at), self.verb, self.digest());
        write!(formatter, "{time} {} {verb} {}", self.actor, self.path)?;
        if self.mutating() {
            write!(formatter, " #{digest}")?;
        }
        match self.code {
            Some(code) => write!(formatter, " → {code}")?,
            None => write!(formatter, " → no answer")?,
        }
        self.fault
            .iter()
            .try_for_each(|fault| write!(formatter, " [{fault}]"))
    }
}

/// All calls, in order.
#[derive(Debug, Default)]
pub struct Calls {
    all: Vec<Call>,
    counts: BTreeMap<Arc<str>, (usize, usize)>,
}

impl Calls {
    /// All calls so far.
    pub fn all(&self) -> &[Call] {
        &self.all
    }

    /// The calls of one client.
    pub fn of<'a>(&'a self, actor: &'a str) -> impl Iterator<Item = &'a Call> {
        self.all.iter().filter(move |call| call.actor.as_ref() == actor)
    }

    /// The mutating calls of one client.
    pub fn writes_of<'a>(&'a self, actor: &'a str) -> impl Iterator<Item = &'a Call> {
        self.of(actor).filter(|call| call.mutating())
    }

    /// Adds a call, which has not been answered yet, and returns its number.
    pub fn begin(&mut self, mut call: Call) -> usize {
        let (calls, writes) = self.counts.entry(Arc::clone(&call.actor)).or_default();
        call.index = *calls;
        call.write = *writes;
        *calls += 1;
        *writes += usize::from(call.mutating());
        self.all.push(call);
        self.all.len() - 1
    }

    /// The call was answered.
    pub fn finish(&mut self, number: usize, code: u16) {
        self.all[number].code = Some(code);
    }

    /// The call leaves only now.
    pub fn sent(&mut self, number: usize, at: Timestamp) {
        self.all[number].at = at;
    }

    /// The call meets a fault.
    pub fn note_fault(&mut self, number: usize, fault: String) {
        self.all[number].fault = Some(fault);
    }
}
