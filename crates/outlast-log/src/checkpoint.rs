//! Checkpoints: the signed size and root of a log (C2SP tlog-checkpoint).

use crate::cosignature::{Cosignature, verify_cosignature};
use crate::note::{KeyKind, Note, NoteError, SigningKey, VerifierKey, sign};
use crate::tree::Hash;

/// Why a checkpoint is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// The text is not that of a checkpoint.
    #[error("not a checkpoint of a log")]
    Form,
    /// It is another log's.
    #[error("the checkpoint is of the log {0}")]
    Origin(String),
    /// The note is not believed.
    #[error(transparent)]
    Note(#[from] NoteError),
}

/// The state of a log: its origin, size and root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The log's name.
    pub origin: String,
    /// Number of entries.
    pub size: u64,
    /// Root of the tree.
    pub root: Hash,
}

impl Checkpoint {
    /// The text that is signed.
    pub fn text(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, self.root)
    }

    /// Reads the text. Extension lines after the root are allowed and passed over.
    ///
    /// # Errors
    /// [`CheckpointError::Form`].
    pub fn parse(text: &str) -> Result<Self, CheckpointError> {
        let mut lines = text
            .strip_suffix('\n')
            .ok_or(CheckpointError::Form)?
            .split('\n');
        let mut line = || lines.next().ok_or(CheckpointError::Form);
        let (origin, size, root) = (line()?, line()?, line()?);
        let number: u64 = size.parse().map_err(|_| CheckpointError::Form)?;
        if origin.is_empty() || number.to_string() != size || lines.any(str::is_empty) {
            return Err(CheckpointError::Form);
        }
        Ok(Self {
            origin: origin.to_owned(),
            size: number,
            root: Hash::from_base64(root).ok_or(CheckpointError::Form)?,
        })
    }

    /// Signs it with the log's key.
    ///
    /// # Errors
    /// [`NoteError::Form`] if the origin cannot be in a note.
    pub fn sign(&self, key: &SigningKey) -> Result<Note, NoteError> {
        sign(&self.text(), &[key])
    }
}

/// A checkpoint that the log's key signed. Only verification makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedCheckpoint {
    checkpoint: Checkpoint,
    note: Note,
    cosignatures: Vec<Cosignature>,
}

impl VerifiedCheckpoint {
    /// Verifies a note as the checkpoint of the log with this key, whose name is the origin, and
    /// counts the cosignatures of these witnesses.
    ///
    /// # Errors
    /// [`CheckpointError`]; a wrong cosignature of a known witness is one.
    pub fn open(
        note: &[u8],
        log: &VerifierKey,
        witnesses: &[VerifierKey],
    ) -> Result<Self, CheckpointError> {
        let opened = Note::parse(note)?.open(std::slice::from_ref(log))?;
        let checkpoint = Checkpoint::parse(opened.text())?;
        if checkpoint.origin != log.name() {
            return Err(CheckpointError::Origin(checkpoint.origin));
        }
        let note = opened.note().clone();
        let mut cosignatures: Vec<Cosignature> = Vec::new();
        for line in &note.signatures {
            let known = witnesses
                .iter()
                .find(|key| key.kind() == KeyKind::Cosignature && line.is_of(key));
            let Some(key) = known else { continue };
            let cosignature = verify_cosignature(note.text(), line, key)?;
            if !cosignatures
                .iter()
                .any(|other| other.witness == cosignature.witness)
            {
                cosignatures.push(cosignature);
            }
        }
        Ok(Self {
            checkpoint,
            note,
            cosignatures,
        })
    }

    /// The log's state.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// The signed note as it is kept and passed on.
    pub fn note(&self) -> &Note {
        &self.note
    }

    /// The known witnesses that saw this state, and when.
    pub fn cosignatures(&self) -> &[Cosignature] {
        &self.cosignatures
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cosignature::{cosign, cosigner_key};
    use crate::tree::leaf_hash;

    fn checkpoint() -> Checkpoint {
        Checkpoint {
            origin: "vault.example/log".to_owned(),
            size: 12,
            root: leaf_hash(b"x"),
        }
    }

    fn key(name: &str, seed: u8) -> SigningKey {
        SigningKey::from_seed(name, KeyKind::Note, &[seed; 32]).unwrap()
    }

    #[test]
    fn checkpoints_come_back_from_the_log_itself_only() {
        let log = key("vault.example/log", 1);
        let note = checkpoint().sign(&log).unwrap().encode();
        let opened = VerifiedCheckpoint::open(&note, &log.verifier(), &[]).unwrap();
        assert_eq!(opened.checkpoint(), &checkpoint());
        let other = key("vault.example/log", 2);
        assert_eq!(
            VerifiedCheckpoint::open(&note, &other.verifier(), &[]),
            Err(NoteError::Unknown.into())
        );
        // A key of another log signs a checkpoint in this one's name.
        let stranger = key("other", 3);
        let note = checkpoint().sign(&stranger).unwrap().encode();
        assert_eq!(
            VerifiedCheckpoint::open(&note, &stranger.verifier(), &[]),
            Err(CheckpointError::Origin("vault.example/log".to_owned()))
        );
    }

    #[test]
    fn witnesses_are_counted_once_and_must_be_right() {
        let log = key("vault.example/log", 1);
        let witness = cosigner_key("witness.example", &[5; 32]).unwrap();
        let note = checkpoint().sign(&log).unwrap();
        let once = cosign(&note, &witness, 1_700_000_000);
        let twice = cosign(&once, &witness, 1_700_000_001).encode();
        let keys = [witness.verifier()];
        let opened = VerifiedCheckpoint::open(&twice, &log.verifier(), &keys).unwrap();
        assert_eq!(opened.cosignatures().len(), 1);
        assert_eq!(opened.cosignatures()[0].time, 1_700_000_000);
        let unknown = VerifiedCheckpoint::open(&twice, &log.verifier(), &[]).unwrap();
        assert!(unknown.cosignatures().is_empty());
        // The cosignature of another state is none of this one.
        let mut moved = Checkpoint {
            size: 13,
            ..checkpoint()
        }
        .sign(&log)
        .unwrap();
        moved.signatures.push(once.signatures[1].clone());
        assert!(VerifiedCheckpoint::open(&moved.encode(), &log.verifier(), &keys).is_err());
    }

    #[test]
    fn malformed_texts_are_refused() {
        let good = checkpoint().text();
        assert_eq!(Checkpoint::parse(&good), Ok(checkpoint()));
        for bad in [
            "",
            "a\n1\n",
            &good.replace("12", "012"),
            &good.replace("12", "+12"),
            &good.replace("12", "99999999999999999999999"),
            &good.replace("vault.example/log", ""),
            &good[..good.len() - 1],
            &good.replace('=', ""),
            &format!("{good}\n"),
        ] {
            assert_eq!(
                Checkpoint::parse(bad),
                Err(CheckpointError::Form),
                "{bad:?}"
            );
        }
        assert_eq!(
            Checkpoint::parse(&format!("{good}extension\n")),
            Ok(checkpoint())
        );
    }
}
