//! Secrets in what a task said: status and messages are read by more people than the task's log.

/// What stands in place of a secret.
const MASK: &str = "***";

/// Words that the name of a secret ends with, in lower case, without `_` and `-`.
const NAMES: [&str; 12] = [
    "password",
    "passwd",
    "pwd",
    "passphrase",
    "secret",
    "secretkey",
    "token",
    "apikey",
    "accesskey",
    "privatekey",
    "credentials",
    "authorization",
];

/// How keys begin that are secret by themselves: of AWS, GitHub, GitLab, Slack, Stripe, and JSON web tokens.
const KEYS: [&str; 10] = [
    "AKIA", "ASIA", "ghp_", "gho_", "ghs_", "glpat-", "xoxb-", "xoxp-", "sk_live_", "eyJ",
];

/// The text without secrets, and without the colours of a terminal.
pub(super) fn masked(text: &str) -> String {
    let lines = text.lines().map(|line| keys(&pairs(&addresses(&plain(line)))));
    lines.collect::<Vec<_>>().join("\n")
}

/// A line without escape sequences.
fn plain(line: &str) -> String {
    let mut parts = line.split("\u{1b}[");
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find(|letter: char| letter.is_ascii_alphabetic());
        plain.push_str(end.and_then(|end| part.get(end + 1..)).unwrap_or_default());
    }
    plain
}

/// Masks user and password of every address: `postgres://***@db/shop`. A password may hold `@`, and `/` as well.
fn addresses(line: &str) -> String {
    let mut parts = line.split("://");
    let mut masked = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        masked.push_str("://");
        let end = part.find(|letter: char| letter.is_whitespace() || "\"'`<>|".contains(letter));
        let (address, rest) = part.split_at(end.unwrap_or(part.len()));
        let host = address.find(['/', '?', '#']).unwrap_or(address.len());
        let (authority, _) = address.split_at(host);
        let has_port = authority
            .rsplit_once(':')
            .is_none_or(|(_, port)| port.chars().all(|letter| letter.is_ascii_digit()));
        let shown = match (authority.rsplit_once('@'), address.rsplit_once('@')) {
            (Some((user, _)), _) => address.get(user.len()..),
            (None, Some((user, _))) if !has_port => address.get(user.len()..),
            (None, _) => None,
        };
        if shown.is_some() {
            masked.push_str(MASK);
        }
        masked.push_str(shown.unwrap_or(address));
        masked.push_str(rest);
    }
    masked
}

/// Masks the values of names that are secret: `password=…`, `"token": "…"`, `--password …`, `PASSWORD '…'`.
fn pairs(line: &str) -> String {
    let mut masked = String::new();
    let mut rest = line;
    while let Some(start) = rest.find(is_of_a_name) {
        let (before, from) = rest.split_at(start);
        let (name, after) = from.split_at(from.find(|letter| !is_of_a_name(letter)).unwrap_or(from.len()));
        masked.push_str(before);
        masked.push_str(name);
        rest = after;
        if let Some((gap, value)) = secret(name, after) {
            masked.push_str(gap);
            masked.push_str(MASK);
            rest = after.get(gap.len() + value.len()..).unwrap_or_default();
        }
    }
    masked + rest
}

fn is_of_a_name(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_' || letter == '-'
}

/// The value after a name that is secret, and what stands between the two.
fn secret<'a>(name: &str, after: &'a str) -> Option<(&'a str, &'a str)> {
    let word: String = name.chars().filter(|letter| letter.is_alphanumeric()).collect();
    let word = word.to_lowercase();
    if !NAMES.iter().any(|end| word.ends_with(end)) {
        return None;
    }
    let closed = after.trim_start_matches(['"', '\'', '`', ')', ']']);
    let is_quoted = closed.len() < after.len();
    let spaced = closed.trim_start();
    let assigned = spaced.trim_start_matches(['=', ':', '>']);
    let is_assigned = assigned.len() < spaced.len();
    let value = assigned.trim_start();
    // "Unexpected token: ;" is what parsers say.
    if spaced.starts_with(':') && name == "token" && !is_quoted {
        return None;
    }
    if !(is_assigned || name.starts_with('-') || value.starts_with('\'')) || (!is_assigned && is_quoted) {
        return None;
    }
    let value = value.trim_start_matches(['"', '\'', '(']);
    let gap = after.get(..after.len() - value.len())?;
    let ends: &[char] = match gap.chars().last() {
        Some(quote @ ('"' | '\'')) => &[quote],
        Some('(') => &[')'],
        _ if word == "authorization" => &['"', '\''],
        _ => &[' ', '\t', ',', ';', '&', ')', ']', '}', '"', '\''],
    };
    let value = value.get(..value.find(ends).unwrap_or(value.len()))?;
    (!value.is_empty()).then_some((gap, value))
}

/// Masks words that are secret by how they begin.
fn keys(line: &str) -> String {
    let is_of_a_key = |letter: char| letter.is_ascii_alphanumeric() || "_-.".contains(letter);
    let words = line.split_inclusive(|letter| !is_of_a_key(letter));
    let mask = |word: &str| {
        let key = word.trim_end_matches(|letter| !is_of_a_key(letter));
        let is_secret = key.len() >= 16 && KEYS.iter().any(|start| key.starts_with(start));
        if is_secret {
            word.replace(key, MASK)
        } else {
            word.to_owned()
        }
    };
    words.map(mask).collect()
}

#[cfg(test)]
mod tests {
    use super::masked;

    #[test]
    fn secrets_are_masked_and_nothing_else_is() {
        let rows = [
            (
                "postgres://shop:s3cret@db:5432/shop",
                "postgres://***@db:5432/shop",
            ),
            ("redis://:p@ss@cache", "redis://***@cache"),
            ("mysql://u:a/b@db/shop failed", "mysql://***@db/shop failed"),
            (
                "see https://pris.ly/d/x?by=me@example.com",
                "see https://pris.ly/d/x?by=me@example.com",
            ),
            ("http://db:9200/a@b", "http://db:9200/a@b"),
            (
                "host=db password=hunter2 dbname=shop",
                "host=db password=*** dbname=shop",
            ),
            ("PGPASSWORD=hunter2 psql", "PGPASSWORD=*** psql"),
            (
                "jdbc:postgresql://db/shop?user=a&password=b&ssl=1",
                "jdbc:postgresql://db/shop?user=a&password=***&ssl=1",
            ),
            ("migrate --password hunter2 up", "migrate --password *** up"),
            ("migrate --db-password=hunter2 up", "migrate --db-password=*** up"),
            (
                r#"{"user":"a","password":"b c","n":1}"#,
                r#"{"user":"a","password":"***","n":1}"#,
            ),
            ("'api_key' => 'abc',", "'api_key' => '***',"),
            ("DB_PASSWORD: hunter2", "DB_PASSWORD: ***"),
            ("Authorization: Bearer abc.def ghi", "Authorization: ***"),
            ("access_token=abc&x=1", "access_token=***&x=1"),
            (
                "ALTER ROLE shop PASSWORD 'hunter2';",
                "ALTER ROLE shop PASSWORD '***';",
            ),
            (
                "DETAIL: Key (token)=(abc) already exists.",
                "DETAIL: Key (token)=(***) already exists.",
            ),
            ("AWS_SECRET_ACCESS_KEY=wJalr/bPx", "AWS_SECRET_ACCESS_KEY=***"),
            ("key AKIAIOSFODNN7EXAMPLE is not valid", "key *** is not valid"),
            ("\u{1b}[31mError\u{1b}[0m: no", "Error: no"),
            (
                "password authentication failed for user \"shop\"",
                "password authentication failed for user \"shop\"",
            ),
            (
                "column \"password\" does not exist",
                "column \"password\" does not exist",
            ),
            (
                "SyntaxError: Unexpected token: ;",
                "SyntaxError: Unexpected token: ;",
            ),
            (
                "ALTER TABLE users ADD password text",
                "ALTER TABLE users ADD password text",
            ),
            ("Enter password:", "Enter password:"),
        ];
        for (said, kept) in rows {
            assert_eq!(masked(said), kept);
        }
    }
}
