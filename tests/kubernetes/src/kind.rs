//! The kinds of objects that the fake API server knows.

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

/// What holds of no kind in particular.
const PLAIN: Traits = Traits {
    kind: "",
    group: "",
    version: "",
    resource: "",
    namespaced: false,
    status: false,
    generation: false,
    unconditional: false,
    managed: false,
};

macro_rules! kinds {
    ($($kind:ident $group:literal $version:literal $resource:literal [$($flag:ident)*];)*) => {
        /// A kind of object.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[allow(missing_docs, reason = "each is the Kubernetes kind of that name")]
        pub enum Kind {
            $($kind,)*
        }

        impl Kind {
            /// All of them.
            pub const ALL: [Self; [$($group),*].len()] = [$(Self::$kind),*];

            /// What the API server needs to know about the kind.
            #[allow(clippy::needless_update, reason = "a row may have every flag")]
            pub const fn traits(self) -> Traits {
                match self {
                    $(Self::$kind => Traits {
                        kind: stringify!($kind),
                        group: $group,
                        version: $version,
                        resource: $resource,
                        $($flag: true,)*
                        ..PLAIN
                    },)*
                }
            }
        }
    };
}

kinds! {
    ConfigMap "" "v1" "configmaps" [namespaced unconditional managed];
    CustomResourceDefinition "apiextensions.k8s.io" "v1" "customresourcedefinitions" [status generation];
    Deployment "apps" "v1" "deployments" [namespaced status generation unconditional managed];
    EndpointSlice "discovery.k8s.io" "v1" "endpointslices" [namespaced generation unconditional];
    Event "events.k8s.io" "v1" "events" [namespaced unconditional];
    HorizontalPodAutoscaler "autoscaling" "v2" "horizontalpodautoscalers" [namespaced status unconditional];
    Job "batch" "v1" "jobs" [namespaced status generation unconditional];
    Lease "coordination.k8s.io" "v1" "leases" [namespaced];
    Namespace "" "v1" "namespaces" [status unconditional];
    PersistentVolumeClaim "" "v1" "persistentvolumeclaims" [namespaced status unconditional];
    Pod "" "v1" "pods" [namespaced status generation unconditional];
    PodDisruptionBudget "policy" "v1" "poddisruptionbudgets" [namespaced status generation];
    Release "slipway.dev" "v1alpha1" "releases" [namespaced status generation managed];
    ReplicaSet "apps" "v1" "replicasets" [namespaced status generation unconditional];
    Secret "" "v1" "secrets" [namespaced unconditional];
    Service "" "v1" "services" [namespaced status unconditional managed];
    ServiceAccount "" "v1" "serviceaccounts" [namespaced unconditional];
}

impl Kind {
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
