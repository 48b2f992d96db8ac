//! The certificates and kubeconfig files of one cluster, made anew at each start.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};
use serde_json::json;

use super::network::{API_PORT, API_SERVICE_ADDRESS, NODE_ADDRESS, NODE_NAME};

/// Who may call the API server: the name of the kubeconfig file, the user and the group.
const CLIENTS: [(&str, &str, &str); 5] = [
    ("admin", "kubernetes-admin", "system:masters"),
    ("controller-manager", "system:kube-controller-manager", ""),
    ("scheduler", "system:kube-scheduler", ""),
    ("proxy", "system:kube-proxy", ""),
    ("kubelet", "", "system:nodes"),
];

/// Writes into `folder`: `ca.crt`, the API server's `server.{crt,key}`, its client certificate for the
/// kubelet `admin.{crt,key}`, `service-accounts.{key,pub}`, and a `<client>.kubeconfig` for each client.
///
/// # Errors
/// When a file cannot be written.
pub fn write(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let mut authority = CertificateParams::default();
    authority
        .distinguished_name
        .push(DnType::CommonName, "slipway-test-cluster");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate()?)?;
    put(&folder.join("ca.crt"), &authority.pem())?;
    let accounts = KeyPair::generate()?;
    put(&folder.join("service-accounts.key"), &accounts.serialize_pem())?;
    put(&folder.join("service-accounts.pub"), &accounts.public_key_pem())?;

    let names = [
        "localhost",
        "127.0.0.1",
        NODE_ADDRESS,
        API_SERVICE_ADDRESS,
        "kubernetes.default.svc",
    ];
    let mut server = CertificateParams::new(names.map(str::to_owned))?;
    server
        .distinguished_name
        .push(DnType::CommonName, "kube-apiserver");
    server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let (certificate, key) = signed(&mut server, &authority)?;
    put(&folder.join("server.crt"), &certificate)?;
    put(&folder.join("server.key"), &key)?;

    for (file, user, group) in CLIENTS {
        let node = format!("system:node:{NODE_NAME}");
        let user = if user.is_empty() { &node } else { user };
        let mut client = CertificateParams::default();
        client.distinguished_name.push(DnType::CommonName, user);
        if !group.is_empty() {
            client.distinguished_name.push(DnType::OrganizationName, group);
        }
        client.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let (certificate, key) = signed(&mut client, &authority)?;
        let certificate_file = folder.join(format!("{file}.crt"));
        let key_file = folder.join(format!("{file}.key"));
        put(&certificate_file, &certificate)?;
        put(&key_file, &key)?;
        let kubeconfig = kubeconfig(&folder.join("ca.crt"), &certificate_file, &key_file);
        put(&folder.join(format!("{file}.kubeconfig")), &kubeconfig)?;
    }
    Ok(())
}

fn signed(
    parameters: &mut CertificateParams,
    authority: &CertifiedIssuer<'_, KeyPair>,
) -> Result<(String, String)> {
    parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    let key = KeyPair::generate()?;
    Ok((parameters.signed_by(&key, authority)?.pem(), key.serialize_pem()))
}

/// A kubeconfig file; JSON is YAML.
fn kubeconfig(authority: &Path, certificate: &Path, key: &Path) -> String {
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{
            "name": "slipway",
            "cluster": {
                "server": format!("https://{NODE_ADDRESS}:{API_PORT}"),
                "certificate-authority": authority,
            },
        }],
        "users": [{ "name": "user", "user": { "client-certificate": certificate, "client-key": key } }],
        "contexts": [{ "name": "slipway", "context": { "cluster": "slipway", "user": "user" } }],
        "current-context": "slipway",
    })
    .to_string()
}

fn put(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
    let owner_only = fs::Permissions::from_mode(0o600);
    fs::set_permissions(path, owner_only).with_context(|| format!("cannot protect {}", path.display()))
}
