//! Cosignatures of witnesses (C2SP tlog-cosignature, version 1 with Ed25519).

use crate::note::{KeyError, KeyKind, Note, NoteError, SignatureLine, SigningKey, VerifierKey};

/// A witness's statement that this was the newest state of the log that it saw at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cosignature {
    /// The witness.
    pub witness: VerifierKey,
    /// When, seconds since 1970.
    pub time: u64,
}

fn message(text: &str, time: u64) -> Vec<u8> {
    format!("cosignature/v1\ntime {time}\n{text}").into_bytes()
}

/// A witness's key made from 32 random bytes.
///
/// # Errors
/// [`KeyError::Name`].
pub fn cosigner_key(name: &str, seed: &[u8; 32]) -> Result<SigningKey, KeyError> {
    SigningKey::from_seed(name, KeyKind::Cosignature, seed)
}

/// The note with a cosignature of this witness, made at `time`, added.
#[must_use]
pub fn cosign(note: &Note, witness: &SigningKey, time: u64) -> Note {
    let signature = witness.sign_bytes(&message(note.text(), time));
    let key = witness.verifier();
    let mut cosigned = note.clone();
    cosigned.signatures.push(SignatureLine {
        name: key.name().to_owned(),
        key_id: key.id(),
        signature: [time.to_be_bytes().as_slice(), &signature].concat(),
    });
    cosigned
}

pub(crate) fn verify_cosignature(
    text: &str,
    line: &SignatureLine,
    key: &VerifierKey,
) -> Result<Cosignature, NoteError> {
    let wrong = || NoteError::Signature(key.name().to_owned());
    let (time, signature) = line.signature.split_first_chunk().ok_or_else(wrong)?;
    let time = u64::from_be_bytes(*time);
    if !key.verify(&message(text, time), signature) {
        return Err(wrong());
    }
    Ok(Cosignature {
        witness: key.clone(),
        time,
    })
}
