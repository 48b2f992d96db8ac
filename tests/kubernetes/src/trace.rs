//! Changes in a few words: time, actor, verb, object, difference.

use serde_json::Value;

use super::{
    clock::BEGINNING,
    store::{Change, Event},
};

/// What nobody wants to read in a difference.
const NOISE: [&str; 4] = [
    "managedFields",
    "resourceVersion",
    "lastUpdateTime",
    "lastProbeTime",
];
/// The most differences that are shown of one change.
const MOST: usize = 8;
/// The longest value that is shown, in characters.
const LONGEST: usize = 60;

/// One change on one line.
pub fn line(change: &Change) -> String {
    let seconds = change.at.as_millisecond() - BEGINNING * 1000;
    let time = format!("{:>7}.{:03}", seconds / 1000, seconds % 1000);
    let (actor, key) = (&change.actor, &change.key);
    match change.event {
        Event::Added => format!("{time} {actor} creates {key}"),
        Event::Deleted => format!("{time} {actor} removes {key}"),
        Event::Modified => {
            let before = change.before.as_deref().unwrap_or(&Value::Null);
            let mut differences = difference(before, &change.object);
            let more = differences.len().saturating_sub(MOST);
            differences.truncate(MOST);
            if more > 0 {
                differences.push(format!("and {more} more"));
            }
            format!("{time} {actor} changes {key}: {}", differences.join(", "))
        }
    }
}

/// The last changes of a history, one a line, without what only repeats liveness.
pub fn tail(changes: &[Change], count: usize) -> String {
    let skipped = changes.len().saturating_sub(count);
    let lines: Vec<_> = changes.iter().skip(skipped).map(line).collect();
    lines.join("\n")
}

/// Which fields differ, as `path: before → after`.
pub fn difference(before: &Value, after: &Value) -> Vec<String> {
    let mut found = Vec::new();
    compare("", Some(before), Some(after), &mut |path, before, after| {
        found.push(format!("{path} {} → {}", short(before), short(after)));
    });
    found
}

/// Takes the path of a field that differs, with its values before and after.
type Tell<'a> = dyn FnMut(&str, Option<&Value>, Option<&Value>) + 'a;

fn compare(path: &str, before: Option<&Value>, after: Option<&Value>, tell: &mut Tell<'_>) {
    if before == after {
        return;
    }
    if let (Some(Value::Object(old)), Some(Value::Object(new))) = (before, after) {
        let added = new.keys().filter(|key| !old.contains_key(*key));
        let mut keys: Vec<_> = old
            .keys()
            .chain(added)
            .filter(|key| !NOISE.contains(&key.as_str()) && old.get(*key) != new.get(*key))
            .collect();
        keys.sort();
        for key in keys {
            compare(&format!("{path}.{key}"), old.get(key), new.get(key), tell);
        }
    } else if let (Some(Value::Array(old)), Some(Value::Array(new))) = (before, after) {
        for index in 0..old.len().max(new.len()) {
            compare(&format!("{path}[{index}]"), old.get(index), new.get(index), tell);
        }
    } else {
        tell(path.trim_start_matches('.'), before, after);
    }
}

fn short(value: Option<&Value>) -> String {
    let text = value.map_or_else(|| "none".to_owned(), Value::to_string);
    if text.chars().count() <= LONGEST {
        return text;
    }
    text.chars().take(LONGEST).chain(['…']).collect()
}
