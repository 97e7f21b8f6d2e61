//! The vault's side of TLS: its own certificate, and what a client pins of it.
//!
//! A vault needs no authority: an invitation carries the pin of its key, and clients of others are
//! given the certificate itself. Certificates from elsewhere can be used as well.

use std::sync::Arc;

use outlast_object::hash;
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, date_time_ymd,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::ParsedCertificate;

/// A certificate answers for at most so many names and addresses.
pub const NAMES_MAX: usize = 64;

/// A chain from elsewhere has at most so many certificates.
pub const CHAIN_MAX: usize = 16;

/// PEM files are at most so long.
pub const PEM_BYTES_MAX: usize = 256 * 1024;

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// There is no name, too many, or one that can be no DNS name.
    #[error("the names for the certificate cannot be used: {0}")]
    Names(String),
    /// The certificate could not be made.
    #[error("the certificate cannot be made: {0}")]
    Make(String),
    /// The certificates cannot be read.
    #[error("the certificate cannot be read: {0}")]
    Certificate(String),
    /// The key cannot be read. What it holds is never repeated.
    #[error("the private key cannot be read: it must be one PEM key, PKCS#8, SEC1 or PKCS#1")]
    Key,
    /// Certificate and key do not fit each other, or are of a kind that cannot be used.
    #[error("certificate and key cannot be used together: {0}")]
    Unusable(String),
}

/// A private key and its certificate, both PEM.
#[derive(Clone)]
pub struct Identity {
    /// The private key, PKCS#8. Whoever has it can pass for the vault.
    pub key_pem: String,
    /// The certificate, self-signed.
    pub certificate_pem: String,
}

// The key must not get into messages.
impl std::fmt::Debug for Identity {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Identity")
            .field("certificate_pem", &self.certificate_pem)
            .finish_non_exhaustive()
    }
}

/// Makes a fresh ECDSA P-256 key and a certificate for these DNS names and IP addresses.
pub fn self_signed(names: &[String]) -> Result<Identity, TlsError> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)
        .map_err(|error| TlsError::Make(error.to_string()))?;
    certify(&key, names)
}

/// Makes a certificate for other names with a key that exists, so that pins stay valid.
pub fn self_signed_again(key_pem: &str, names: &[String]) -> Result<Identity, TlsError> {
    let key = KeyPair::from_pem(key_pem).map_err(|_| TlsError::Key)?;
    certify(&key, names)
}

fn certify(key: &KeyPair, names: &[String]) -> Result<Identity, TlsError> {
    if names.is_empty() || names.len() > NAMES_MAX {
        let message = format!("{} of them, where 1 to {NAMES_MAX} are needed", names.len());
        return Err(TlsError::Names(message));
    }
    if names.iter().any(|name| !is_name(name)) {
        let message = "each must be a DNS name or an IP address".to_string();
        return Err(TlsError::Names(message));
    }
    let mut params =
        CertificateParams::new(names).map_err(|error| TlsError::Names(error.to_string()))?;
    let mut subject = DistinguishedName::new();
    subject.push(DnType::CommonName, "outlast vault");
    params.distinguished_name = subject;
    // What is trusted is the key. A certificate that ran out, or a client whose clock was reset,
    // would only stand between somebody and their restore.
    params.not_before = date_time_ymd(1970, 1, 1);
    params.not_after = date_time_ymd(9999, 12, 31);
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let certificate = params
        .self_signed(key)
        .map_err(|error| TlsError::Make(error.to_string()))?;
    Ok(Identity {
        key_pem: key.serialize_pem(),
        certificate_pem: certificate.pem(),
    })
}

/// Whether this is an IP address or could be a DNS name.
fn is_name(name: &str) -> bool {
    rustls::pki_types::ServerName::try_from(name).is_ok()
}

/// What a server needs to speak TLS.
#[derive(Clone)]
pub struct Tls {
    config: Arc<rustls::ServerConfig>,
    pin: [u8; 32],
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Tls")
            .field("pin", &self.pin)
            .finish_non_exhaustive()
    }
}

impl Tls {
    /// Takes a PEM chain, the server's own certificate first, and the PEM key of that certificate.
    /// Speaks TLS 1.2 and 1.3 and refuses everything older.
    pub fn from_pem(chain_pem: &[u8], key_pem: &[u8]) -> Result<Self, TlsError> {
        let chain = read_chain(chain_pem)?;
        if key_pem.len() > PEM_BYTES_MAX {
            return Err(TlsError::Key);
        }
        let key = PrivateKeyDer::from_pem_slice(key_pem).map_err(|_| TlsError::Key)?;
        let first = chain
            .first()
            .ok_or_else(|| TlsError::Certificate("there is none".to_string()))?;
        let pin = pin(first)?;
        let unusable = |error: rustls::Error| TlsError::Unusable(error.to_string());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .map_err(unusable)?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(unusable)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self {
            config: Arc::new(config),
            pin,
        })
    }

    /// The pin of the server's own certificate: see [`pin`].
    pub fn pin(&self) -> [u8; 32] {
        self.pin
    }

    pub(super) fn config(&self) -> Arc<rustls::ServerConfig> {
        Arc::clone(&self.config)
    }
}

/// The certificates in PEM text.
fn read_chain(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let refused = |message: &str| TlsError::Certificate(message.to_string());
    if pem.len() > PEM_BYTES_MAX {
        return Err(refused("the file is too long"));
    }
    let mut chain = Vec::new();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|_| refused("it is not PEM"))?;
        if chain.len() == CHAIN_MAX {
            return Err(refused("the chain is too long"));
        }
        chain.push(certificate);
    }
    Ok(chain)
}

/// What a client pins of a certificate: the SHA-256 of its SubjectPublicKeyInfo, that is of the
/// whole DER sequence with tag and length that holds algorithm and public key (RFC 5280, 4.1), as
/// RFC 7469 does. It stays the same when a certificate is made anew with the same key.
pub fn pin(certificate_der: &[u8]) -> Result<[u8; 32], TlsError> {
    let certificate = CertificateDer::from(certificate_der);
    let parsed = ParsedCertificate::try_from(&certificate)
        .map_err(|error| TlsError::Certificate(error.to_string()))?;
    Ok(*hash(&parsed.subject_public_key_info()).as_bytes())
}

/// The pin of the first certificate in PEM text: see [`pin`].
pub fn pin_of_pem(certificate_pem: &[u8]) -> Result<[u8; 32], TlsError> {
    match read_chain(certificate_pem)?.first() {
        Some(first) => pin(first),
        None => Err(TlsError::Certificate("there is none".to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Vec<String> {
        ["vault.example", "192.0.2.7", "2001:db8::1"]
            .map(str::to_string)
            .to_vec()
    }

    #[test]
    fn makes_what_it_can_load() {
        let identity = self_signed(&names()).unwrap();
        let (certificate, key) = (&identity.certificate_pem, &identity.key_pem);
        let tls = Tls::from_pem(certificate.as_bytes(), key.as_bytes()).unwrap();
        assert_eq!(tls.pin(), pin_of_pem(certificate.as_bytes()).unwrap());
        assert!(!format!("{identity:?}").contains("PRIVATE"));
    }

    #[test]
    fn the_pin_is_that_of_the_key() {
        let identity = self_signed(&names()).unwrap();
        let again = self_signed_again(&identity.key_pem, &["other.example".to_string()]).unwrap();
        let other = self_signed(&names()).unwrap();
        let pin = |identity: &Identity| pin_of_pem(identity.certificate_pem.as_bytes()).unwrap();
        assert_ne!(identity.certificate_pem, again.certificate_pem);
        assert_eq!(pin(&identity), pin(&again));
        assert_ne!(pin(&identity), pin(&other));
        let key = KeyPair::from_pem(&identity.key_pem).unwrap();
        use rcgen::PublicKeyData as _;
        let expected = hash(&key.subject_public_key_info());
        assert_eq!(&pin(&identity), expected.as_bytes());
    }

    #[test]
    fn refuses_names_that_cannot_be() {
        let many = vec!["a.example".to_string(); NAMES_MAX + 1];
        for names in [
            vec![],
            vec![String::new()],
            vec!["two words".to_string()],
            vec!["ä.example".to_string()],
            vec!["a.example/".to_string()],
            many,
        ] {
            assert!(
                matches!(self_signed(&names), Err(TlsError::Names(_))),
                "{names:?}"
            );
        }
    }

    #[test]
    fn refuses_what_does_not_fit() {
        let one = self_signed(&names()).unwrap();
        let other = self_signed(&names()).unwrap();
        let load = |certificate: &str, key: &str| {
            Tls::from_pem(certificate.as_bytes(), key.as_bytes()).unwrap_err()
        };
        assert!(matches!(
            load(&one.certificate_pem, &other.key_pem),
            TlsError::Unusable(_)
        ));
        assert!(matches!(load(&one.certificate_pem, ""), TlsError::Key));
        assert!(matches!(load("", &one.key_pem), TlsError::Certificate(_)));
        assert!(matches!(
            load(&one.key_pem, &one.key_pem),
            TlsError::Certificate(_)
        ));
        let cut = one.certificate_pem.replace("-----END", "-----END-OF");
        assert!(matches!(load(&cut, &one.key_pem), TlsError::Certificate(_)));
        let long = one.certificate_pem.repeat(CHAIN_MAX + 1);
        assert!(matches!(
            load(&long, &one.key_pem),
            TlsError::Certificate(_)
        ));
        assert!(matches!(pin(b"not DER"), Err(TlsError::Certificate(_))));
    }
}
