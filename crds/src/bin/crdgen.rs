//! Prints the custom resource definition as YAML; the only generator of `crds/yaml`.

use std::io::{self, Write};

use kube::CustomResourceExt;
use slipway_crds::v1alpha1::Release;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let yaml = serde_yaml::to_string(&Release::crd())?;
    io::stdout().write_all(yaml.as_bytes())?;
    Ok(())
}
