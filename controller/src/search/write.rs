//! Changes: each checks what it relies on right before it is sent, and looks at what became of it afterwards.

use std::collections::BTreeSet;

use http::Method;
use serde_json::{Value, json};

use super::{
    Answer, IndexRef, Resolved, Root, SearchClient, SearchError, error::reason_of, read::readable, single,
};

/// What became of a request to move an alias.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AliasMove {
    /// The alias is on the new index, and on it alone, by this call.
    Moved,
    /// It was already.
    AlreadyThere,
    /// It was not where the caller believed, or was moved by somebody else at the same moment. These are the
    /// indices it is on now.
    Conflict(BTreeSet<String>),
    /// The index to move to is gone, or is another of the same name. Nothing was sent.
    TargetChanged,
}

/// What became of a request to delete an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deletion {
    /// It is deleted.
    Deleted,
    /// There was none.
    AlreadyGone,
    /// The name stands for something else by now: another index of that name, or an alias. Nothing was sent.
    Foreign,
    /// It is in use under these other names. Nothing was sent.
    HeldBy(BTreeSet<String>),
}

impl SearchClient {
    /// Moves `alias` from the index `from` (`None`: it must not exist) to `to`, if it is on exactly that one now.
    /// Where the engine has `must_exist` it compares and sets in one step; elsewhere the alias is read, moved, and
    /// read again, which another mover at the same moment can slip between: it is seen, as a conflict.
    pub async fn move_alias(
        &self,
        root: &Root,
        alias: &str,
        from: Option<&str>,
        to: IndexRef<'_>,
    ) -> Result<AliasMove, SearchError> {
        single(alias)?;
        let wanted = BTreeSet::from([to.name.to_owned()]);
        if !self.is_still(to).await? {
            return Ok(AliasMove::TargetChanged);
        }
        let now = self.indices_of(alias).await?;
        if now == wanted {
            return Ok(AliasMove::AlreadyThere);
        }
        if now != from.map(ToOwned::to_owned).into_iter().collect() {
            return Ok(AliasMove::Conflict(now));
        }
        let mut actions = Vec::new();
        if let Some(from) = from {
            let mut remove = json!({"index": from, "alias": alias});
            if root.must_exist()
                && let Some(remove) = remove.as_object_mut()
            {
                remove.insert("must_exist".to_owned(), Value::Bool(true));
            }
            actions.push(json!({"remove": remove}));
        }
        actions.push(json!({"add": {"index": to.name, "alias": alias}}));
        let answer = self.change_aliases(actions).await?;
        if answer.status != 404 {
            applied("/_aliases", &answer)?;
        }
        let now = self.indices_of(alias).await?;
        Ok(if now == wanted {
            AliasMove::Moved
        } else {
            AliasMove::Conflict(now)
        })
    }

    /// Puts `alias` on `index` too, wherever else it is. Harmless to repeat. False: the index is gone, or is
    /// another of the same name; nothing was sent.
    pub async fn add_alias(&self, alias: &str, index: IndexRef<'_>) -> Result<bool, SearchError> {
        single(alias)?;
        if !self.is_still(index).await? {
            return Ok(false);
        }
        let answer = self
            .change_aliases(vec![json!({"add": {"index": index.name, "alias": alias}})])
            .await?;
        applied("/_aliases", &answer)?;
        Ok(true)
    }

    /// Deletes `index`, if it still is the one that was recorded and no alias but those in `own_aliases` is on it.
    /// Both are read right before; the engine offers no deletion on condition.
    pub async fn delete_index(
        &self,
        index: IndexRef<'_>,
        own_aliases: &[&str],
    ) -> Result<Deletion, SearchError> {
        let path = format!("/{}", single(index.name)?);
        match self.resolve(index.name).await? {
            Resolved::Absent => return Ok(Deletion::AlreadyGone),
            Resolved::Index(facts) if facts.uuid == index.uuid => {}
            Resolved::Index(_) | Resolved::Alias(_) => return Ok(Deletion::Foreign),
        }
        let Some(mut held_by) = self.aliases_on(index.name).await? else {
            return Ok(Deletion::AlreadyGone);
        };
        held_by.retain(|alias| !own_aliases.contains(&alias.as_str()));
        if !held_by.is_empty() {
            return Ok(Deletion::HeldBy(held_by));
        }
        let answer = self.write(Method::DELETE, path.clone(), None).await?;
        if answer.status == 404 {
            return Ok(Deletion::AlreadyGone);
        }
        applied(&path, &answer)?;
        Ok(Deletion::Deleted)
    }

    async fn change_aliases(&self, actions: Vec<Value>) -> Result<Answer, SearchError> {
        self.write(
            Method::POST,
            "/_aliases".to_owned(),
            Some(json!({"actions": actions})),
        )
        .await
    }

    /// The indices an alias is on; none if there is no such alias.
    async fn indices_of(&self, alias: &str) -> Result<BTreeSet<String>, SearchError> {
        Ok(self.aliases(&[alias]).await?.remove(alias).unwrap_or_default())
    }

    /// Whether an index still is the one that was recorded.
    async fn is_still(&self, index: IndexRef<'_>) -> Result<bool, SearchError> {
        let found = self.resolve(index.name).await?;
        Ok(matches!(found, Resolved::Index(facts) if facts.uuid == index.uuid))
    }
}

/// Whether a change was applied, all of it: newer engines list what they left out.
fn applied(path: &str, answer: &Answer) -> Result<(), SearchError> {
    let body = readable(path, answer)?;
    if body.get("errors") == Some(&Value::Bool(true)) {
        let results = body.get("action_results").unwrap_or(body);
        return Err(SearchError::OutcomeUnknown {
            path: path.to_owned(),
            why: format!("it was applied in part: {}", reason_of(results)),
        });
    }
    Ok(())
}
