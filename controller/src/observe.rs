//! All reads: from the caches, and live where a decision needs it. A read that fails is a fact of its own,
//! `Unknown`, and no error.

pub mod live;
mod search;

pub(crate) use search::client as search_client;

use slipway_engine::{Intent, Needs, Observed, Progress, observed::SearchView};

use crate::{cache::Key, context::Context};

/// Looks at everything that a decision wants to know.
pub async fn observe(context: &Context, intent: &Intent, committed: &Progress, needs: &Needs) -> Observed {
    let mut observed = cached(context, intent, committed);
    if let Some(question) = &needs.search {
        observed.search = search::ask(context, &intent.meta.namespace, question).await;
    } else {
        observed.search = SearchView::NotRead;
    }
    if needs.preflight {
        let key = Key::new(intent.meta.namespace.clone(), intent.meta.name.clone());
        let claims = live::volume_claims(intent, &observed);
        observed.preflight = if let Some(known) = context.preflight(&key, &claims) {
            known
        } else {
            let facts = live::preflight(context, &key.namespace, &claims).await;
            context.keep_preflight(key, claims, facts.clone());
            facts
        };
    }
    for name in &needs.pod_troubles {
        if let Some(deployment) = observed.deployments.get(name) {
            let selector = deployment.selector.clone();
            observed
                .pod_troubles
                .extend(live::pod_troubles(context, &intent.meta.namespace, &selector).await);
        }
    }
    observed
}

/// What the caches hold of what concerns a Release.
pub fn cached(context: &Context, intent: &Intent, committed: &Progress) -> Observed {
    Observed {
        guard: context.guard,
        ..context.caches.observed(intent, committed)
    }
}
