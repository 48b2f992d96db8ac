//! The kinds of objects that the fake API server knows.

/// A kind of object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "each is the Kubernetes kind of that name")]
pub enum Kind {
    ConfigMap,
    CustomResourceDefinition,
    Deployment,
    EndpointSlice,
    Event,
    HorizontalPodAutoscaler,
    Job,
    Lease,
    Namespace,
    PersistentVolumeClaim,
    Pod,
    PodDisruptionBudget,
    Release,
    ReplicaSet,
    Secret,
    Service,
    ServiceAccount,
}

/// What the API server needs to know about a kind.
#[derive(Clone, Copy, Debug)]
#[allow(clippy::struct_excessive_bools, reason = "a row of a table")]
pub struct Traits {
    /// The kind's name.
    pub kind: &'static str,
    /// The API group; empty for the core group.
    pub group: &'static str,
    /// The API version.
    pub version: &'static str,
    /// The resource: the plural in URLs.
    pub resource: &'static str,
    /// Whether objects live in namespaces.
    pub namespaced: bool,
    /// Whether `status` is a subresource.
    pub status: bool,
    /// Whether `metadata.generation` counts changes of the spec.
    pub generation: bool,
    /// Whether a replace may come without a resourceVersion.
    pub unconditional: bool,
    /// Whether field managers are recorded (only where users apply things).
    pub managed: bool,
}

/// A row of the table below; the flags are status, generation, unconditional and managed.
const fn row(
    kind: &'static str,
    api: (&'static str, &'static str),
    resource: &'static str,
    namespaced: bool,
    [status, generation, unconditional, managed]: [bool; 4],
) -> Traits {
    let (group, version) = api;
    Traits {
        kind,
        group,
        version,
        resource,
        namespaced,
        status,
        generation,
        unconditional,
        managed,
    }
}

const CORE: (&str, &str) = ("", "v1");
const APPS: (&str, &str) = ("apps", "v1");

impl Kind {
    /// All of them.
    pub const ALL: [Self; 17] = [
        Self::ConfigMap,
        Self::CustomResourceDefinition,
        Self::Deployment,
        Self::EndpointSlice,
        Self::Event,
        Self::HorizontalPodAutoscaler,
        Self::Job,
        Self::Lease,
        Self::Namespace,
        Self::PersistentVolumeClaim,
        Self::Pod,
        Self::PodDisruptionBudget,
        Self::Release,
        Self::ReplicaSet,
        Self::Secret,
        Self::Service,
        Self::ServiceAccount,
    ];

    /// What the API server needs to know about the kind.
    pub const fn traits(self) -> Traits {
        const NO: bool = false;
        const YES: bool = true;
        match self {
            Self::ConfigMap => row("ConfigMap", CORE, "configmaps", YES, [NO, NO, YES, YES]),
            Self::CustomResourceDefinition => {
                let api = ("apiextensions.k8s.io", "v1");
                row(
                    "CustomResourceDefinition",
                    api,
                    "customresourcedefinitions",
                    NO,
                    [YES, YES, NO, NO],
                )
            }
            Self::Deployment => row("Deployment", APPS, "deployments", YES, [YES, YES, YES, YES]),
            Self::EndpointSlice => row(
                "EndpointSlice",
                ("discovery.k8s.io", "v1"),
                "endpointslices",
                YES,
                [NO, YES, YES, NO],
            ),
            Self::Event => row("Event", ("events.k8s.io", "v1"), "events", YES, [NO, NO, YES, NO]),
            Self::HorizontalPodAutoscaler => {
                let api = ("autoscaling", "v2");
                row(
                    "HorizontalPodAutoscaler",
                    api,
                    "horizontalpodautoscalers",
                    YES,
                    [YES, NO, YES, NO],
                )
            }
            Self::Job => row("Job", ("batch", "v1"), "jobs", YES, [YES, YES, YES, NO]),
            Self::Lease => row(
                "Lease",
                ("coordination.k8s.io", "v1"),
                "leases",
                YES,
                [NO, NO, NO, NO],
            ),
            Self::Namespace => row("Namespace", CORE, "namespaces", NO, [YES, NO, YES, NO]),
            Self::PersistentVolumeClaim => row(
                "PersistentVolumeClaim",
                CORE,
                "persistentvolumeclaims",
                YES,
                [YES, NO, YES, NO],
            ),
            Self::Pod => row("Pod", CORE, "pods", YES, [YES, YES, YES, NO]),
            Self::PodDisruptionBudget => row(
                "PodDisruptionBudget",
                ("policy", "v1"),
                "poddisruptionbudgets",
                YES,
                [YES, YES, NO, NO],
            ),
            Self::Release => row(
                "Release",
                ("slipway.dev", "v1alpha1"),
                "releases",
                YES,
                [YES, YES, NO, YES],
            ),
            Self::ReplicaSet => row("ReplicaSet", APPS, "replicasets", YES, [YES, YES, YES, NO]),
            Self::Secret => row("Secret", CORE, "secrets", YES, [NO, NO, YES, NO]),
            Self::Service => row("Service", CORE, "services", YES, [YES, NO, YES, YES]),
            Self::ServiceAccount => row("ServiceAccount", CORE, "serviceaccounts", YES, [NO, NO, YES, NO]),
        }
    }

    /// The kind behind a group, version and resource of a URL.
    pub fn of_resource(group: &str, version: &str, resource: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| {
            let known = kind.traits();
            known.group == group && known.version == version && known.resource == resource
        })
    }

    /// The kind of an object that names its own.
    pub fn of_object(api_version: &str, name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.traits().kind == name && kind.api_version() == api_version)
    }

    /// The `apiVersion` of its objects.
    pub fn api_version(self) -> String {
        let Traits { group, version, .. } = self.traits();
        if group.is_empty() {
            version.to_owned()
        } else {
            format!("{group}/{version}")
        }
    }

    /// The resource with its group, as error messages name it.
    pub fn qualified_resource(self) -> String {
        let Traits { group, resource, .. } = self.traits();
        if group.is_empty() {
            resource.to_owned()
        } else {
            format!("{resource}.{group}")
        }
    }

    /// The kind with its group, as validation messages name it.
    pub fn qualified_kind(self) -> String {
        let Traits { group, kind, .. } = self.traits();
        if group.is_empty() {
            kind.to_owned()
        } else {
            format!("{kind}.{group}")
        }
    }
}
