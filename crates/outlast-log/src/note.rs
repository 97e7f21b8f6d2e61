//! Signed notes and their keys, as C2SP's signed-note has them.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signer as _, Verifier as _};
use sha2::{Digest, Sha256};

/// Longest note, in bytes.
const NOTE_BYTES_MAX: usize = 64 * 1024;
/// Most signature lines of a note.
const SIGNATURES_MAX: usize = 64;
/// Longest name of a key, in bytes.
const NAME_BYTES_MAX: usize = 255;
const SIGNATURE_PREFIX: &str = "\u{2014} ";
const PRIVATE_PREFIX: &str = "PRIVATE+KEY+";

/// What a key signs, by the type byte of the specifications.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyKind {
    /// The text of notes with Ed25519 (0x01).
    Note,
    /// Timestamped cosignatures with Ed25519 (0x04).
    Cosignature,
}

impl KeyKind {
    const fn byte(self) -> u8 {
        match self {
            KeyKind::Note => 1,
            KeyKind::Cosignature => 4,
        }
    }

    fn from_byte(byte: u8) -> Option<Self> {
        [KeyKind::Note, KeyKind::Cosignature]
            .into_iter()
            .find(|kind| kind.byte() == byte)
    }
}

/// Why text is no key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Empty, too long, or with a space or a plus.
    #[error("not a name of a key: it must not be empty nor contain spaces or '+'")]
    Name,
    /// Not of the form name+id+key.
    #[error("not a key of the form name+id+base64")]
    Form,
    /// Of an algorithm that this program does not know.
    #[error("a key of type {0}, which this program does not know")]
    Kind(u8),
    /// The id is not that of the key.
    #[error("the key's id does not belong to it; was it copied whole?")]
    Id,
}

/// Why a note is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// Not of a note's form, or beyond its limits.
    #[error("not a signed note")]
    Form,
    /// A signature with a key that is known is wrong.
    #[error("the signature of {0} is wrong")]
    Signature(String),
    /// No signature of a known key.
    #[error("no signature of a known key")]
    Unknown,
}

/// The public half of a key, with its name.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct VerifierKey {
    name: String,
    kind: KeyKind,
    key: ed25519_dalek::VerifyingKey,
}

/// A signing key for the text of notes. Its debug form shows no secret.
pub struct SigningKey {
    name: String,
    kind: KeyKind,
    key: ed25519_dalek::SigningKey,
}

fn check_name(name: &str) -> Result<(), KeyError> {
    let bad = |letter: char| letter.is_whitespace() || letter.is_control() || letter == '+';
    if name.is_empty() || name.len() > NAME_BYTES_MAX || name.contains(bad) {
        return Err(KeyError::Name);
    }
    Ok(())
}

fn key_id(name: &str, kind: KeyKind, public: &[u8; 32]) -> u32 {
    let mut hasher = Sha256::new();
    hasher.update(name);
    hasher.update([b'\n', kind.byte()]);
    hasher.update(public);
    let digest = hasher.finalize();
    u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]])
}

impl VerifierKey {
    /// The key's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it signs.
    pub fn kind(&self) -> KeyKind {
        self.kind
    }

    /// The id that stands before its signatures.
    pub fn id(&self) -> u32 {
        key_id(&self.name, self.kind, self.key.as_bytes())
    }

    pub(crate) fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        ed25519_dalek::Signature::from_slice(signature).is_ok_and(|signature| {
            self.key.verify(message, &signature).is_ok()
                && self.key.verify_strict(message, &signature).is_ok()
        })
    }
}

impl FromStr for VerifierKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        // The key itself is base64 and may contain a plus.
        let mut parts = text.splitn(3, '+');
        let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(KeyError::Form);
        };
        check_name(name)?;
        let bytes = STANDARD.decode(key).map_err(|_| KeyError::Form)?;
        let (kind, public) = bytes.split_first().ok_or(KeyError::Form)?;
        let kind = KeyKind::from_byte(*kind).ok_or(KeyError::Kind(*kind))?;
        let public: [u8; 32] = public.try_into().map_err(|_| KeyError::Form)?;
        let key = ed25519_dalek::VerifyingKey::from_bytes(&public).map_err(|_| KeyError::Form)?;
        if id.len() != 8 || u32::from_str_radix(id, 16) != Ok(key_id(name, kind, &public)) {
            return Err(KeyError::Id);
        }
        Ok(Self {
            name: name.to_owned(),
            kind,
            key,
        })
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = [&[self.kind.byte()], self.key.as_bytes().as_slice()].concat();
        write!(
            f,
            "{}+{:08x}+{}",
            self.name,
            self.id(),
            STANDARD.encode(bytes)
        )
    }
}

impl fmt::Debug for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerifierKey({self})")
    }
}

impl SigningKey {
    /// The key of this name and kind made from 32 random bytes.
    ///
    /// # Errors
    /// [`KeyError::Name`].
    pub fn from_seed(name: &str, kind: KeyKind, seed: &[u8; 32]) -> Result<Self, KeyError> {
        check_name(name)?;
        Ok(Self {
            name: name.to_owned(),
            kind,
            key: ed25519_dalek::SigningKey::from_bytes(seed),
        })
    }

    /// The public half.
    pub fn verifier(&self) -> VerifierKey {
        VerifierKey {
            name: self.name.clone(),
            kind: self.kind,
            key: self.key.verifying_key(),
        }
    }

    /// The text form, which is secret: `PRIVATE+KEY+name+id+base64`.
    pub fn to_secret_text(&self) -> String {
        let bytes = [&[self.kind.byte()], self.key.as_bytes().as_slice()].concat();
        let id = self.verifier().id();
        format!(
            "{PRIVATE_PREFIX}{}+{id:08x}+{}",
            self.name,
            STANDARD.encode(bytes)
        )
    }

    pub(crate) fn sign_bytes(&self, message: &[u8]) -> [u8; 64] {
        self.key.sign(message).to_bytes()
    }
}

impl FromStr for SigningKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let mut parts = text
            .strip_prefix(PRIVATE_PREFIX)
            .ok_or(KeyError::Form)?
            .splitn(3, '+');
        let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(KeyError::Form);
        };
        let bytes = STANDARD.decode(key).map_err(|_| KeyError::Form)?;
        let (kind, seed) = bytes.split_first().ok_or(KeyError::Form)?;
        let kind = KeyKind::from_byte(*kind).ok_or(KeyError::Kind(*kind))?;
        let seed: [u8; 32] = seed.try_into().map_err(|_| KeyError::Form)?;
        let key = Self::from_seed(name, kind, &seed)?;
        if u32::from_str_radix(id, 16) != Ok(key.verifier().id()) {
            return Err(KeyError::Id);
        }
        Ok(key)
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.name)
    }
}

/// One signature line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SignatureLine {
    pub(crate) name: String,
    pub(crate) key_id: u32,
    pub(crate) signature: Vec<u8>,
}

impl SignatureLine {
    pub(crate) fn is_of(&self, key: &VerifierKey) -> bool {
        self.name == key.name && self.key_id == key.id()
    }

    pub(crate) fn write(&self, text: &mut String) {
        let bytes = [self.key_id.to_be_bytes().as_slice(), &self.signature].concat();
        text.push_str(SIGNATURE_PREFIX);
        text.push_str(&format!("{} {}\n", self.name, STANDARD.encode(bytes)));
    }

    fn parse(line: &str) -> Option<Self> {
        let (name, signature) = line.strip_prefix(SIGNATURE_PREFIX)?.split_once(' ')?;
        check_name(name).ok()?;
        let bytes = STANDARD.decode(signature).ok()?;
        let (id, signature) = bytes.split_first_chunk::<4>()?;
        if signature.is_empty() {
            return None;
        }
        Some(Self {
            name: name.to_owned(),
            key_id: u32::from_be_bytes(*id),
            signature: signature.to_vec(),
        })
    }
}

/// A note whose signatures nobody has verified yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    text: String,
    pub(crate) signatures: Vec<SignatureLine>,
}

/// A note that a known key signed. Only verification makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedNote {
    note: Note,
    signers: Vec<VerifierKey>,
}

impl Note {
    /// Reads a note.
    ///
    /// # Errors
    /// [`NoteError::Form`].
    pub fn parse(bytes: &[u8]) -> Result<Self, NoteError> {
        let text = std::str::from_utf8(bytes).map_err(|_| NoteError::Form)?;
        let control = |letter: char| letter < ' ' && letter != '\n';
        if bytes.len() > NOTE_BYTES_MAX || text.contains(control) {
            return Err(NoteError::Form);
        }
        // Signatures come after the last empty line; the text keeps its final newline.
        let split = text.rfind("\n\n").ok_or(NoteError::Form)?;
        let (text, lines) = (&text[..=split], &text[split + 2..]);
        let lines = lines.strip_suffix('\n').ok_or(NoteError::Form)?;
        let mut signatures = Vec::new();
        for line in lines.split('\n') {
            signatures.push(SignatureLine::parse(line).ok_or(NoteError::Form)?);
            if signatures.len() > SIGNATURES_MAX {
                return Err(NoteError::Form);
            }
        }
        Ok(Self {
            text: text.to_owned(),
            signatures,
        })
    }

    /// The text, unverified.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The bytes of the note.
    pub fn encode(&self) -> Vec<u8> {
        let mut text = format!("{}\n", self.text);
        for signature in &self.signatures {
            signature.write(&mut text);
        }
        text.into_bytes()
    }

    /// Verifies the signatures of these keys (of kind [`KeyKind::Note`]); others are passed over.
    ///
    /// # Errors
    /// [`NoteError::Signature`] if one of them is wrong, [`NoteError::Unknown`] if there is none.
    pub fn open(self, keys: &[VerifierKey]) -> Result<VerifiedNote, NoteError> {
        let mut signers: Vec<VerifierKey> = Vec::new();
        for line in &self.signatures {
            let known = keys
                .iter()
                .find(|key| key.kind == KeyKind::Note && line.is_of(key));
            let Some(key) = known else { continue };
            if !key.verify(self.text.as_bytes(), &line.signature) {
                return Err(NoteError::Signature(key.name.clone()));
            }
            if !signers.contains(key) {
                signers.push(key.clone());
            }
        }
        if signers.is_empty() {
            return Err(NoteError::Unknown);
        }
        Ok(VerifiedNote {
            note: self,
            signers,
        })
    }
}

impl VerifiedNote {
    /// The text that was signed.
    pub fn text(&self) -> &str {
        &self.note.text
    }

    /// The known keys that signed it.
    pub fn signers(&self) -> &[VerifierKey] {
        &self.signers
    }

    /// The note, with all its signatures.
    pub fn note(&self) -> &Note {
        &self.note
    }
}

/// Signs a text, which must end with a newline.
///
/// # Errors
/// [`NoteError::Form`] if the text cannot be that of a note.
pub fn sign(text: &str, keys: &[&SigningKey]) -> Result<Note, NoteError> {
    let control = |letter: char| letter < ' ' && letter != '\n';
    if !text.ends_with('\n') || text.len() > NOTE_BYTES_MAX / 2 || text.contains(control) {
        return Err(NoteError::Form);
    }
    let line = |key: &&SigningKey| SignatureLine {
        name: key.name.clone(),
        key_id: key.verifier().id(),
        signature: key.sign_bytes(text.as_bytes()).to_vec(),
    };
    Ok(Note {
        text: text.to_owned(),
        signatures: keys.iter().map(line).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the signed-note specification.
    const KEY: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    const NOTE: &str = "If you think cryptography is the answer to your problem,\nthen you don't \
        know what your problem is.\n\n\u{2014} PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_seed("vault.example", KeyKind::Note, &[seed; 32]).unwrap()
    }

    #[test]
    fn the_public_example_verifies() {
        let key: VerifierKey = KEY.parse().unwrap();
        assert_eq!(key.to_string(), KEY);
        let note = Note::parse(NOTE.as_bytes()).unwrap();
        assert_eq!(note.encode(), NOTE.as_bytes());
        assert_eq!(
            note.open(std::slice::from_ref(&key)).unwrap().signers(),
            std::slice::from_ref(&key)
        );
        let changed = NOTE.replace("your", "the");
        let note = Note::parse(changed.as_bytes()).unwrap();
        assert_eq!(
            note.open(&[key]),
            Err(NoteError::Signature("PeterNeumann".to_owned()))
        );
    }

    #[test]
    fn keys_come_back_and_their_secret_is_not_shown() {
        let key = key(1);
        let text = key.to_secret_text();
        let again: SigningKey = text.parse().unwrap();
        assert_eq!(again.verifier(), key.verifier());
        assert!(!format!("{key:?}").contains(&text[PRIVATE_PREFIX.len()..]));
        let public = key.verifier().to_string();
        assert_eq!(public.parse::<VerifierKey>().unwrap(), key.verifier());
        let renamed = public.replace("vault", "other");
        assert_eq!(renamed.parse::<VerifierKey>(), Err(KeyError::Id));
        assert!(SigningKey::from_seed("a b", KeyKind::Note, &[0; 32]).is_err());
    }

    #[test]
    fn only_known_keys_count() {
        let (mine, other) = (key(1), key(2));
        let note = sign("text\n", &[&other]).unwrap();
        assert_eq!(
            note.clone().open(&[mine.verifier()]),
            Err(NoteError::Unknown)
        );
        assert!(note.open(&[mine.verifier(), other.verifier()]).is_ok());
        let both = sign("text\n", &[&mine, &other]).unwrap();
        let opened = both.open(&[mine.verifier()]).unwrap();
        assert_eq!(opened.signers(), [mine.verifier()]);
    }

    #[test]
    fn malformed_notes_are_refused() {
        let good = String::from_utf8(sign("text\n", &[&key(1)]).unwrap().encode()).unwrap();
        assert!(Note::parse(good.as_bytes()).is_ok());
        for bad in [
            "",
            "text\n",
            "\n\n",
            &good[..good.len() - 1],
            &good.replace("\n\n", "\n"),
            &good.replace('\u{2014}', "-"),
            &good.replace("text", "te\0xt"),
            &format!("{good}\n"),
            &format!(
                "text\n\n{}",
                "\u{2014} a AAAAAAAA\n".repeat(SIGNATURES_MAX + 1)
            ),
        ] {
            assert_eq!(Note::parse(bad.as_bytes()), Err(NoteError::Form), "{bad:?}");
        }
        assert!(sign("no newline", &[]).is_err());
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_answered(text in "(\\PC|\n|\u{2014} ){0,200}") {
            if let Ok(note) = Note::parse(text.as_bytes()) {
                proptest::prop_assert_eq!(Note::parse(&note.encode()), Ok(note));
            }
        }
    }
}
