//! Label and field selectors.

use serde_json::{Map, Value};

use crate::{fields, kind::Kind, refusal::Refusal};

/// One condition on the labels.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Requirement {
    key: String,
    values: Vec<String>,
    test: Test,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Test {
    In,
    NotIn,
    Exists,
    Absent,
}

/// What a list or watch asks for.
#[derive(Clone, Debug, Default)]
pub struct Selector {
    labels: Vec<Requirement>,
    fields: Vec<(String, String, bool)>,
}

impl Selector {
    /// Reads the two selectors of a query.
    pub fn parse(kind: Kind, labels: &str, fields: &str) -> Result<Self, Refusal> {
        let labels = split(labels).map(requirement).collect::<Result<_, _>>()?;
        let fields = fields
            .split(',')
            .filter(|part| !part.is_empty())
            .map(|part| field(kind, part));
        Ok(Self {
            labels,
            fields: fields.collect::<Result<_, _>>()?,
        })
    }

    /// Whether an object is asked for.
    pub fn matches(&self, object: &Value) -> bool {
        let labels = fields::map(object, "/metadata/labels");
        self.labels.iter().all(|requirement| requirement.holds(labels))
            && self.fields.iter().all(|(path, value, equal)| {
                let pointer = format!("/{}", path.replace('.', "/"));
                (fields::text(object, &pointer) == value) == *equal
            })
    }
}

impl Requirement {
    fn holds(&self, labels: Option<&Map<String, Value>>) -> bool {
        let value = labels.and_then(|labels| labels.get(&self.key)?.as_str());
        let listed = || value.is_some_and(|value| self.values.iter().any(|wanted| wanted == value));
        match self.test {
            Test::In => listed(),
            Test::NotIn => !listed(),
            Test::Exists => value.is_some(),
            Test::Absent => value.is_none(),
        }
    }
}

/// The parts of a label selector; a comma within parentheses does not part.
fn split(text: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0;
    text.split(move |character| {
        depth += i32::from(character == '(') - i32::from(character == ')');
        character == ',' && depth == 0
    })
    .map(str::trim)
    .filter(|part| !part.is_empty())
}

fn requirement(part: &str) -> Result<Requirement, Refusal> {
    let make = |key: &str, values: Vec<String>, test| Requirement {
        key: key.trim().to_owned(),
        values,
        test,
    };
    if let Some((key, set)) = part.split_once('(') {
        let values = set
            .trim_end_matches(')')
            .split(',')
            .map(|value| value.trim().to_owned())
            .collect();
        let key = key.trim();
        return if let Some(key) = key.strip_suffix(" notin") {
            Ok(make(key, values, Test::NotIn))
        } else if let Some(key) = key.strip_suffix(" in") {
            Ok(make(key, values, Test::In))
        } else {
            Err(Refusal::bad_request(format!(
                "unable to parse requirement: {part}"
            )))
        };
    }
    if let Some((key, value)) = part.split_once("!=") {
        return Ok(make(key, vec![value.trim().to_owned()], Test::NotIn));
    }
    if let Some((key, value)) = part.split_once('=') {
        return Ok(make(
            key,
            vec![value.trim_start_matches('=').trim().to_owned()],
            Test::In,
        ));
    }
    Ok(match part.strip_prefix('!') {
        Some(key) => make(key, Vec::new(), Test::Absent),
        None => make(part, Vec::new(), Test::Exists),
    })
}

fn field(kind: Kind, part: &str) -> Result<(String, String, bool), Refusal> {
    let (path, value, equal) = if let Some((path, value)) = part.split_once("!=") {
        (path, value, false)
    } else if let Some((path, value)) = part.split_once('=') {
        (path, value.trim_start_matches('='), true)
    } else {
        return Err(Refusal::bad_request(format!(
            "invalid selector: '{part}'; can't understand '{part}'"
        )));
    };
    let own: &[&str] = match kind {
        Kind::Pod => &[
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.serviceAccountName",
            "status.phase",
        ],
        Kind::Event => &[
            "reason",
            "regarding.kind",
            "regarding.name",
            "regarding.uid",
            "type",
        ],
        Kind::Namespace => &["status.phase"],
        Kind::Secret => &["type"],
        Kind::ConfigMap
        | Kind::CustomResourceDefinition
        | Kind::Deployment
        | Kind::EndpointSlice
        | Kind::HorizontalPodAutoscaler
        | Kind::Job
        | Kind::Lease
        | Kind::PersistentVolumeClaim
        | Kind::PodDisruptionBudget
        | Kind::Release
        | Kind::ReplicaSet
        | Kind::Service
        | Kind::ServiceAccount => &[],
    };
    if path == "metadata.name" || path == "metadata.namespace" || own.contains(&path) {
        Ok((path.to_owned(), value.to_owned(), equal))
    } else {
        Err(Refusal::bad_request(match kind {
            Kind::Release | Kind::Pod | Kind::Event | Kind::Secret | Kind::Service => {
                format!("field label not supported: {path}")
            }
            Kind::Job => format!("field label \"{path}\" not supported for Job"),
            _ => {
                let known = "\"metadata.name\", \"metadata.namespace\"";
                format!("\"{path}\" is not a known field selector: only {known}")
            }
        }))
    }
}

/// Whether an object's labels fit the map of a Service's selector; an empty map fits nothing.
pub fn fits_map(selector: Option<&Map<String, Value>>, object: &Value) -> bool {
    let labels = fields::map(object, "/metadata/labels");
    selector.is_some_and(|selector| {
        !selector.is_empty()
            && selector
                .iter()
                .all(|(key, value)| labels.is_some_and(|labels| labels.get(key) == Some(value)))
    })
}

/// Whether labels fit a `LabelSelector`; an empty one fits nothing here, as in the workload controllers.
pub fn fits_selector(selector: &Value, labels: Option<&Map<String, Value>>) -> bool {
    let pairs = fields::map(selector, "/matchLabels");
    let expressions = fields::list(selector, "/matchExpressions");
    if pairs.is_none_or(Map::is_empty) && expressions.is_empty() {
        return false;
    }
    let all_pairs = pairs.is_none_or(|pairs| {
        pairs
            .iter()
            .all(|(key, value)| labels.is_some_and(|labels| labels.get(key) == Some(value)))
    });
    all_pairs
        && expressions.iter().all(|expression| {
            let values = fields::list(expression, "/values")
                .iter()
                .filter_map(Value::as_str);
            let test = match fields::text(expression, "/operator") {
                "In" => Test::In,
                "NotIn" => Test::NotIn,
                "Exists" => Test::Exists,
                _ => Test::Absent,
            };
            let key = fields::text(expression, "/key").to_owned();
            Requirement {
                key,
                values: values.map(str::to_owned).collect(),
                test,
            }
            .holds(labels)
        })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn selectors_choose_as_the_real_ones_do() {
        let pod = json!({"metadata": {"name": "a", "labels": {"app": "web", "tier": "x"}}, "status": {"phase": "Running"}});
        for (labels, fields, expected) in [
            ("app=web", "", true),
            ("app==web,tier!=y", "", true),
            ("app in (web, api),tier notin (y)", "", true),
            ("app notin (web)", "", false),
            ("tier,!missing", "", true),
            ("missing", "", false),
            ("", "metadata.name=a,status.phase!=Failed", true),
            ("", "metadata.name=b", false),
        ] {
            let selector = Selector::parse(Kind::Pod, labels, fields).expect("well-formed");
            assert_eq!(selector.matches(&pod), expected, "{labels} {fields}");
        }
        let refused = Selector::parse(Kind::Release, "", "spec.count=1").expect_err("not selectable");
        assert_eq!(
            (refused.code, refused.message.as_str()),
            (400, "field label not supported: spec.count")
        );
    }
}
