//! Only the server whose key is pinned is spoken to, and it has to prove that it has the key.

#![allow(clippy::unwrap_used)]

mod support;

use std::sync::Arc;

use outlast_object::hash;
use outlast_wire::{StoreError, VaultClient, WireError};
use rcgen::{CertificateParams, CertifiedIssuer, IsCa, KeyPair, PublicKeyData};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls::{ServerConfig, SupportedProtocolVersion};

use support::*;

/// The only thing that the servers here say.
const STATE: &str = r#"{"repository":"web1","settings":{"quota_bytes":1,"hold_seconds_min":1,"hold_seconds":1,"hold_seconds_max":1,"append_read_bytes_daily":0},"objects":0,"bytes":0,"has_exact_seals":false,"scopes":[],"time":0,"log_entries":0,"identity":"","read_only":null,"software":"fake"}"#;

struct Shown {
    chain: Vec<CertificateDer<'static>>,
    key: KeyPair,
}

/// A certificate for somebody, signed by itself.
fn certificate(name: &str) -> Shown {
    let key = KeyPair::generate().unwrap();
    let parameters = CertificateParams::new(vec![name.to_owned()]).unwrap();
    let certificate = parameters.self_signed(&key).unwrap();
    Shown {
        chain: vec![certificate.der().clone()],
        key,
    }
}

fn pin_of(key: &KeyPair) -> [u8; 32] {
    *hash(&key.subject_public_key_info()).as_bytes()
}

/// Shows a certificate, whether or not the key goes with it.
#[derive(Debug)]
struct Shows(Arc<CertifiedKey>);

impl ResolvesServerCert for Shows {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

fn serve(
    chain: Vec<CertificateDer<'static>>,
    key: &KeyPair,
    version: &'static SupportedProtocolVersion,
) -> Fake {
    let der = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let key = ring::sign::any_supported_type(&der).unwrap();
    let tls = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[version])
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(Shows(Arc::new(CertifiedKey::new(chain, key)))));
    Fake::new(Some(tls), Box::new(|_| (200, STATE.into())))
}

fn is_refused(client: &VaultClient, what: &str) {
    match client.state() {
        // Another try would change nothing, so there is none.
        Err(WireError::Store(error)) => assert!(!error.is_retryable(), "{what}: {error}"),
        other => panic!("{what}: {other:?}"),
    }
}

#[test]
fn the_pinned_key_is_enough_under_any_name_and_in_both_versions() {
    for version in [&TLS12, &TLS13] {
        let shown = certificate("somebody.example");
        let pin = pin_of(&shown.key);
        let fake = serve(shown.chain, &shown.key, version);
        assert_eq!(
            fake.client_with(Some(pin)).state().unwrap().software,
            "fake"
        );
        // A new certificate for the same key is as good.
        let parameters = CertificateParams::new(vec!["other.example".to_owned()]).unwrap();
        let again = parameters.self_signed(&shown.key).unwrap();
        let fake = serve(vec![again.der().clone()], &shown.key, version);
        fake.client_with(Some(pin)).state().unwrap();
    }
}

#[test]
fn another_key_is_refused_with_the_right_name_and_in_both_versions() {
    for version in [&TLS12, &TLS13] {
        let pin = pin_of(&certificate("127.0.0.1").key);
        let other = certificate("127.0.0.1");
        let fake = serve(other.chain, &other.key, version);
        let client = fake.client_with(Some(pin));
        is_refused(&client, "another key");
        let Err(WireError::Store(StoreError::Denied { reason, .. })) = client.state() else {
            panic!("not denied")
        };
        assert!(reason.contains("not the one that was pinned"), "{reason}");
    }
}

#[test]
fn whoever_copied_the_certificate_lacks_the_key() {
    for version in [&TLS12, &TLS13] {
        let honest = certificate("vault.example");
        let pin = pin_of(&honest.key);
        let thief = certificate("vault.example");
        let fake = serve(honest.chain, &thief.key, version);
        let outcome = fake.client_with(Some(pin)).state();
        assert!(matches!(outcome, Err(WireError::Store(_))), "{outcome:?}");
    }
}

#[test]
fn the_pinned_certificate_further_up_the_chain_proves_nothing() {
    for version in [&TLS12, &TLS13] {
        let mut parameters = CertificateParams::new(vec!["vault.example".to_owned()]).unwrap();
        parameters.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let issuer_key = KeyPair::generate().unwrap();
        let pin = pin_of(&issuer_key);
        let issuer = CertifiedIssuer::self_signed(parameters, issuer_key).unwrap();
        let key = KeyPair::generate().unwrap();
        let parameters = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        let leaf = parameters.signed_by(&key, &issuer).unwrap();
        let chain = vec![leaf.der().clone(), issuer.der().clone()];
        let fake = serve(chain, &key, version);
        is_refused(&fake.client_with(Some(pin)), "a pinned authority");
    }
}

#[test]
fn without_tls_a_pinned_server_hears_no_secret() {
    let fake = Fake::saying(200, STATE);
    let outcome = fake.client_with(Some([7; 32])).state();
    assert!(matches!(outcome, Err(WireError::Store(_))), "{outcome:?}");
}
