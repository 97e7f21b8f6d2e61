//! Proofs that stand alone (C2SP tlog-proof): an index, an inclusion proof and a checkpoint.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::checkpoint::{CheckpointError, VerifiedCheckpoint};
use crate::note::{Note, NoteError, VerifierKey};
use crate::tree::{HASHES_MAX, Hash, TreeError, leaf_hash, verify_inclusion};

const HEADER: &str = "c2sp.org/tlog-proof@v1";
/// Longest extra data, in bytes.
const EXTRA_BYTES_MAX: usize = 4096;

/// Why a proof is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// Not of a proof's form.
    #[error("not a proof of a log entry")]
    Form,
    /// The checkpoint is not believed.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The hashes do not lead from the entry to the checkpoint's root.
    #[error(transparent)]
    Tree(#[from] TreeError),
}

impl From<NoteError> for ProofError {
    fn from(error: NoteError) -> Self {
        Self::Checkpoint(error.into())
    }
}

/// A proof that nobody has verified yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OfflineProof {
    /// What the log wants to say besides; not covered by any signature.
    pub extra: Option<Vec<u8>>,
    /// The entry's index.
    pub index: u64,
    /// The inclusion proof.
    pub hashes: Vec<Hash>,
    /// The checkpoint, with its cosignatures.
    pub checkpoint: Note,
}

/// A proof that holds. Only verification makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedProof {
    index: u64,
    checkpoint: VerifiedCheckpoint,
}

impl OfflineProof {
    /// The text form.
    pub fn encode(&self) -> String {
        let mut text = format!("{HEADER}\n");
        if let Some(extra) = &self.extra {
            text.push_str(&format!("extra {}\n", STANDARD.encode(extra)));
        }
        text.push_str(&format!("index {}\n", self.index));
        for hash in &self.hashes {
            text.push_str(&format!("{hash}\n"));
        }
        text.push('\n');
        text.push_str(&String::from_utf8_lossy(&self.checkpoint.encode()));
        text
    }

    /// Reads the text form.
    ///
    /// # Errors
    /// [`ProofError`].
    pub fn parse(text: &str) -> Result<Self, ProofError> {
        let (head, checkpoint) = text.split_once("\n\n").ok_or(ProofError::Form)?;
        let mut lines = head.split('\n').peekable();
        if lines.next() != Some(HEADER) {
            return Err(ProofError::Form);
        }
        let mut extra = None;
        if let Some(line) = lines.peek().and_then(|line| line.strip_prefix("extra ")) {
            let bytes = STANDARD.decode(line).map_err(|_| ProofError::Form)?;
            if bytes.len() > EXTRA_BYTES_MAX {
                return Err(ProofError::Form);
            }
            extra = Some(bytes);
            lines.next();
        }
        let number = lines.next().and_then(|line| line.strip_prefix("index "));
        let number = number.ok_or(ProofError::Form)?;
        let index: u64 = number.parse().map_err(|_| ProofError::Form)?;
        if index.to_string() != number {
            return Err(ProofError::Form);
        }
        let mut hashes = Vec::new();
        for line in lines {
            hashes.push(Hash::from_base64(line).ok_or(ProofError::Form)?);
            if hashes.len() > HASHES_MAX {
                return Err(ProofError::Form);
            }
        }
        Ok(Self {
            extra,
            index,
            hashes,
            checkpoint: Note::parse(checkpoint.as_bytes())?,
        })
    }

    /// Verifies that `entry` is in the log with this key.
    ///
    /// # Errors
    /// [`ProofError`] if that is not shown.
    pub fn verify(
        &self,
        entry: &[u8],
        log: &VerifierKey,
        witnesses: &[VerifierKey],
    ) -> Result<VerifiedProof, ProofError> {
        let opened = VerifiedCheckpoint::open(&self.checkpoint.encode(), log, witnesses)?;
        let state = opened.checkpoint();
        let leaf = leaf_hash(entry);
        verify_inclusion(&leaf, self.index, state.size, &self.hashes, &state.root)?;
        Ok(VerifiedProof {
            index: self.index,
            checkpoint: opened,
        })
    }
}

impl VerifiedProof {
    /// The entry's index.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// The state of the log that has it.
    pub fn checkpoint(&self) -> &VerifiedCheckpoint {
        &self.checkpoint
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::Checkpoint;
    use crate::note::{KeyKind, SigningKey};
    use crate::tree::{prove_inclusion, root};

    fn sample() -> (OfflineProof, SigningKey) {
        let read = |level: u8, index: u64| {
            let first = index << level;
            let leaves = (first..first + (1 << level)).map(|n| leaf_hash(&[n as u8]));
            Ok::<_, ()>(crate::tree::tree_root(leaves))
        };
        let key = SigningKey::from_seed("vault", KeyKind::Note, &[3; 32]).unwrap();
        let checkpoint = Checkpoint {
            origin: "vault".to_owned(),
            size: 11,
            root: root(11, read).unwrap(),
        };
        let proof = OfflineProof {
            extra: Some(b"more".to_vec()),
            index: 6,
            hashes: prove_inclusion(6, 11, read).unwrap(),
            checkpoint: checkpoint.sign(&key).unwrap(),
        };
        (proof, key)
    }

    #[test]
    fn proofs_come_back_and_show_their_entry_only() {
        let (proof, key) = sample();
        let text = proof.encode();
        let again = OfflineProof::parse(&text).unwrap();
        assert_eq!(again, proof);
        let verified = again.verify(&[6], &key.verifier(), &[]).unwrap();
        assert_eq!(verified.index(), 6);
        assert_eq!(verified.checkpoint().checkpoint().size, 11);
        assert!(again.verify(&[7], &key.verifier(), &[]).is_err());
        let moved = OfflineProof { index: 7, ..proof };
        assert!(moved.verify(&[6], &key.verifier(), &[]).is_err());
        for bad in [
            text.replace("index 6", "index 06"),
            text.replace("index 6\n", ""),
            text.replace(HEADER, "other"),
            text.replace("\n\n", "\n"),
            text.replace("extra ", "extra *"),
            String::new(),
        ] {
            assert!(OfflineProof::parse(&bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn no_single_character_can_change() {
        let (proof, key) = sample();
        let text = OfflineProof {
            extra: None,
            ..proof
        }
        .encode();
        for at in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= 1;
            let Ok(changed) = String::from_utf8(bytes) else {
                continue;
            };
            let outcome = OfflineProof::parse(&changed)
                .and_then(|proof| proof.verify(&[6], &key.verifier(), &[]));
            assert!(outcome.is_err(), "byte {at} of {text}");
        }
    }
}
