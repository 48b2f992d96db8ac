//! The readers: one for each kind of question. An answer that is still good is not read again.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::{
    autoscaling::v2::HorizontalPodAutoscaler,
    core::v1::{PersistentVolumeClaim, Pod},
    events::v1::Event,
};
use kube::{Api, ResourceExt as _, api::ListParams};
use slipway_crds::DeploymentName;
use slipway_engine::{
    Answer, Answered, Answers, Intent, Observed, Question, classify,
    observed::{DeploymentView, PodTrouble},
};

use super::{live::dynamic, search};
use crate::{cache::Key, context::Context, error::chain};

/// Answers what is asked, and keeps the answers for the next pass.
pub(super) async fn of(
    context: &Context,
    intent: &Intent,
    observed: &Observed,
    asked: Vec<Question>,
    now: Timestamp,
) -> Answers {
    let key = Key::new(&*intent.meta.namespace, &*intent.meta.name);
    let known = context.answers(&key);
    let mut answers = Vec::new();
    for question in asked {
        let good = |known: &&Answered| {
            known.question == question && now.duration_since(known.at) < question.fresh_for()
        };
        let answered = match known.iter().find(good) {
            Some(known) => known.clone(),
            None => Answered {
                answer: read(context, &key.namespace, observed, &question).await,
                at: now,
                question,
            },
        };
        answers.push(answered);
    }
    context.keep_answers(key, answers.clone());
    Answers(answers)
}

async fn read(
    context: &Context,
    namespace: &str,
    observed: &Observed,
    question: &Question,
) -> Result<Answer, String> {
    match question {
        Question::Search(question) => search::ask(context, namespace, question)
            .await
            .map(Answer::Search),
        Question::VolumeClaims(names) => volume_claims(context, namespace, names)
            .await
            .map(Answer::VolumeClaims),
        Question::Autoscalers => autoscalers(context, namespace).await.map(Answer::Autoscalers),
        Question::PodTroubles(name) => match observed.deployments.get(name) {
            Some(deployment) => pod_troubles(context, namespace, deployment)
                .await
                .map(Answer::PodTroubles),
            None => Err(format!("there is no Deployment {name}")),
        },
        Question::JobTrouble(uid) => job_trouble(context, namespace, uid.as_str())
            .await
            .map(Answer::JobTrouble),
    }
}

async fn volume_claims(
    context: &Context,
    namespace: &str,
    names: &[String],
) -> Result<BTreeMap<String, Vec<String>>, String> {
    let api: Api<PersistentVolumeClaim> = Api::namespaced(context.client.clone(), namespace);
    let list = api.list(&ListParams::default()).await;
    let claims = list.map_err(|error| chain(&error))?.items;
    let modes = |claim: &PersistentVolumeClaim| claim.spec.as_ref()?.access_modes.clone();
    let asked = claims.iter().filter(|claim| names.contains(&claim.name_any()));
    Ok(asked
        .map(|claim| (claim.name_any(), modes(claim).unwrap_or_default()))
        .collect())
}

async fn autoscalers(context: &Context, namespace: &str) -> Result<BTreeMap<DeploymentName, String>, String> {
    let api: Api<HorizontalPodAutoscaler> = Api::namespaced(context.client.clone(), namespace);
    let list = api.list(&ListParams::default()).await;
    let autoscalers = list.map_err(|error| chain(&error))?.items;
    Ok(autoscalers.iter().filter_map(by_value).collect())
}

/// The Deployment that an autoscaler scales by a metric of type Value, and the autoscaler's name.
fn by_value(autoscaler: &HorizontalPodAutoscaler) -> Option<(DeploymentName, String)> {
    let spec = autoscaler.spec.as_ref()?;
    let metrics = spec.metrics.iter().flatten();
    let targets = metrics.filter_map(|metric| {
        let external = metric.external.as_ref().map(|external| &external.target);
        external.or_else(|| metric.object.as_ref().map(|object| &object.target))
    });
    let by_value = targets.into_iter().any(|target| target.type_ == "Value");
    (by_value && spec.scale_target_ref.kind == "Deployment")
        .then(|| (spec.scale_target_ref.name.as_str().into(), autoscaler.name_any()))
}

async fn pod_troubles(
    context: &Context,
    namespace: &str,
    deployment: &DeploymentView,
) -> Result<Vec<PodTrouble>, String> {
    let pods = dynamic::<Pod>(context, namespace)
        .list(&ListParams::default().labels_from(&deployment.selector))
        .await
        .map_err(|error| chain(&error))?
        .items;
    Ok(pods
        .iter()
        .filter_map(|pod| serde_json::to_value(pod).ok())
        .filter_map(|pod| classify::pod_trouble(&pod))
        .collect())
}

async fn job_trouble(context: &Context, namespace: &str, uid: &str) -> Result<Option<String>, String> {
    let api: Api<Event> = Api::namespaced(context.client.clone(), namespace);
    let about = ListParams::default().fields(&format!("regarding.uid={uid}"));
    let list = api.list(&about).await.map_err(|error| chain(&error))?;
    let events = list
        .items
        .iter()
        .filter_map(|event| serde_json::to_value(event).ok());
    let events: Vec<_> = events.collect();
    Ok(classify::job_trouble(events.iter()))
}
