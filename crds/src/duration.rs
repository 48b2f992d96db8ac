//! Durations as people write them in a spec: `90s`, `15m`, `24h`, `1h30m`.

use std::borrow::Cow;
use std::fmt;

use jiff::SignedDuration;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// A duration in whole hours, minutes and seconds, in that order; each part at most once.
///
/// The schema admits only what [`Duration::parse`] understands, at most 9,999 of each unit.
#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Duration(pub String);

const PATTERN: &str = "^([0-9]{1,4}h)?([0-9]{1,4}m)?([0-9]{1,4}s)?$";

impl Duration {
    /// The length of time; none when the text has no part, an unknown unit, or parts out of order.
    pub fn parse(&self) -> Option<SignedDuration> {
        let mut rest = self.0.as_str();
        let mut seconds = 0_i64;
        let mut parts = 0;
        for (unit, length) in [('h', 3600), ('m', 60), ('s', 1)] {
            if let Some((digits, after)) = rest.split_once(unit) {
                if digits.len() > 4 {
                    return None;
                }
                seconds += i64::from(digits.parse::<u16>().ok()?) * length;
                rest = after;
                parts += 1;
            }
        }
        (rest.is_empty() && parts > 0).then(|| SignedDuration::from_secs(seconds))
    }
}

impl From<&str> for Duration {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl JsonSchema for Duration {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": PATTERN, "minLength": 2, "maxLength": 15 })
    }
}

#[cfg(test)]
mod tests {
    use super::Duration;

    #[test]
    fn reads_what_people_write_and_nothing_else() {
        let seconds = |text: &str| Duration::from(text).parse().map(|length| length.as_secs());
        assert_eq!(seconds("90s"), Some(90));
        assert_eq!(seconds("15m"), Some(900));
        assert_eq!(seconds("24h"), Some(86_400));
        assert_eq!(seconds("1h30m"), Some(5_400));
        assert_eq!(seconds("0s"), Some(0));
        for wrong in [
            "", "s", "5", "5d", "30m1h", "1h1h", "-5s", "1.5h", "99999s", "5 s",
        ] {
            assert_eq!(seconds(wrong), None, "{wrong:?}");
        }
    }
}
