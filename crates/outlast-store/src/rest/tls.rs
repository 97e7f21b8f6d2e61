//! Whom to believe over TLS, and who to say we are.

use std::fs;
use std::path::{Path, PathBuf};

use ureq::tls::{ClientCert, PemItem, RootCerts, TlsConfig, parse_pem};

use super::pinned::Pin;
use crate::StoreError;

/// How TLS connections are made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsOptions {
    /// PEM files of the authorities to believe, instead of the system's.
    pub ca_certificates: Vec<PathBuf>,
    /// A PEM file with our own certificate and its private key.
    pub client_certificate: Option<PathBuf>,
    /// Believe anybody. Whoever sits on the line can then read the password and replace answers.
    pub insecure: bool,
    /// Believe the server with this key and no other, whatever authorities and names say.
    pub pin: Option<Pin>,
}

/// Where Linux distributions keep the authorities that their administrators trust.
const SYSTEM_BUNDLES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Certificate files larger than this are not read.
const PEM_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// The settings that `options` amount to.
pub(super) fn tls_config(options: &TlsOptions) -> Result<TlsConfig, StoreError> {
    let mut builder = TlsConfig::builder().disable_verification(options.insecure);
    if !options.insecure {
        builder = builder.root_certs(root_certificates(&options.ca_certificates)?);
    }
    if let Some(path) = &options.client_certificate {
        builder = builder.client_cert(Some(client_certificate(path)?));
    }
    Ok(builder.build())
}

fn root_certificates(paths: &[PathBuf]) -> Result<RootCerts, StoreError> {
    if paths.is_empty() {
        let bundles = SYSTEM_BUNDLES.iter().map(Path::new);
        let system = bundles
            .filter_map(|path| read_pem(path).ok())
            .find_map(|items| {
                let certificates: Vec<_> = items.into_iter().filter_map(certificate).collect();
                (!certificates.is_empty()).then_some(certificates)
            });
        // A system without a bundle of its own gets Mozilla's.
        return Ok(system.map_or(RootCerts::WebPki, RootCerts::from));
    }
    let mut certificates = Vec::new();
    for path in paths {
        let found = certificates.len();
        certificates.extend(read_pem(path)?.into_iter().filter_map(certificate));
        if certificates.len() == found {
            let message = format!("{} holds no certificate", path.display());
            return Err(StoreError::Location(message));
        }
    }
    Ok(RootCerts::from(certificates))
}

fn client_certificate(path: &Path) -> Result<ClientCert, StoreError> {
    let mut chain = Vec::new();
    let mut key = None;
    for item in read_pem(path)? {
        match item {
            PemItem::Certificate(certificate) => chain.push(certificate),
            PemItem::PrivateKey(_) if key.is_some() => {
                let message = format!("{} holds more than one private key", path.display());
                return Err(StoreError::Location(message));
            }
            PemItem::PrivateKey(found) => key = Some(found),
            _ => {}
        }
    }
    match key {
        Some(key) if !chain.is_empty() => Ok(ClientCert::new_with_certs(&chain, key)),
        _ => {
            let message = format!("{} lacks a certificate or its private key", path.display());
            Err(StoreError::Location(message))
        }
    }
}

fn certificate(item: PemItem<'static>) -> Option<ureq::tls::Certificate<'static>> {
    match item {
        PemItem::Certificate(certificate) => Some(certificate),
        _ => None,
    }
}

fn read_pem(path: &Path) -> Result<Vec<PemItem<'static>>, StoreError> {
    let failed = |why: String| StoreError::Location(format!("{}: {why}", path.display()));
    let metadata = fs::metadata(path).map_err(|error| failed(error.to_string()))?;
    if !metadata.is_file() || metadata.len() > PEM_BYTES_MAX {
        return Err(failed("not a file of certificates".to_owned()));
    }
    let text = fs::read(path).map_err(|error| failed(error.to_string()))?;
    parse_pem(&text)
        .collect::<Result<_, _>>()
        .map_err(|error| failed(error.to_string()))
}
