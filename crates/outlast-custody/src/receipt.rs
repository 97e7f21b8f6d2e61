//! Receipts: a custodian's proof of a seal, to be verified offline and years later.
//!
//! The text form is a header line, the seal's entry in base64, an empty line, and a proof that the
//! entry is in the custodian's log.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use outlast_log::{Hash, OfflineProof, ProofError, VerifiedProof, VerifierKey};

use crate::entry::{ENTRY_BYTES_MAX, Entry, EntryError, Event, Seal};
use crate::list::ObjectList;

const HEADER: &str = "outlast-receipt/v1";
/// Longest receipt, in bytes.
const RECEIPT_BYTES_MAX: usize = 128 * 1024;

/// Why a receipt is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReceiptError {
    /// Not of a receipt's form.
    #[error("not a receipt")]
    Form,
    /// The entry cannot be read.
    #[error(transparent)]
    Entry(#[from] EntryError),
    /// The entry states something else than a seal.
    #[error("the receipt proves something else than a seal")]
    NoSeal,
    /// The log does not prove it.
    #[error("the receipt is not proven: {0}")]
    Proof(#[from] ProofError),
    /// The list shown is not the one that was sealed.
    #[error("the list of objects is not the one that was sealed")]
    List,
}

/// A receipt that nobody has verified yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// The bytes of the seal's entry.
    pub entry: Vec<u8>,
    /// The proof that the log has it.
    pub proof: OfflineProof,
}

/// A receipt that holds. Only verification makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedReceipt {
    custodian: VerifierKey,
    entry: Entry,
    seal: Seal,
    proof: VerifiedProof,
}

impl Receipt {
    /// The text form.
    pub fn encode(&self) -> String {
        let entry = STANDARD.encode(&self.entry);
        format!("{HEADER}\n{entry}\n\n{}", self.proof.encode())
    }

    /// Reads the text form.
    ///
    /// # Errors
    /// [`ReceiptError`].
    pub fn parse(text: &str) -> Result<Self, ReceiptError> {
        if text.len() > RECEIPT_BYTES_MAX {
            return Err(ReceiptError::Form);
        }
        let rest = text
            .strip_prefix(HEADER)
            .and_then(|rest| rest.strip_prefix('\n'));
        let (entry, proof) = rest
            .and_then(|rest| rest.split_once("\n\n"))
            .ok_or(ReceiptError::Form)?;
        let entry = STANDARD.decode(entry).map_err(|_| ReceiptError::Form)?;
        if entry.len() > ENTRY_BYTES_MAX {
            return Err(EntryError::TooLong(entry.len()).into());
        }
        Ok(Self {
            entry,
            proof: OfflineProof::parse(proof)?,
        })
    }

    /// Verifies it against the identity of the custodian, and counts these witnesses.
    ///
    /// # Errors
    /// [`ReceiptError`] if anything in it is not proven.
    pub fn verify(
        &self,
        custodian: &VerifierKey,
        witnesses: &[VerifierKey],
    ) -> Result<VerifiedReceipt, ReceiptError> {
        let proof = self.proof.verify(&self.entry, custodian, witnesses)?;
        let entry = Entry::decode(&self.entry)?;
        let Event::Seal(seal) = &entry.event else {
            return Err(ReceiptError::NoSeal);
        };
        let seal = seal.clone();
        Ok(VerifiedReceipt {
            custodian: custodian.clone(),
            entry,
            seal,
            proof,
        })
    }
}

impl VerifiedReceipt {
    /// The identity that signed it.
    pub fn custodian(&self) -> &VerifierKey {
        &self.custodian
    }

    /// The leaf hash of the seal's entry.
    pub fn leaf(&self) -> Hash {
        self.entry.leaf()
    }

    /// The seal.
    pub fn seal(&self) -> &Seal {
        &self.seal
    }

    /// When the vault made it, by its own time, seconds since 1970.
    pub fn time(&self) -> u64 {
        self.entry.time
    }

    /// The proof: index, checkpoint and cosignatures.
    pub fn proof(&self) -> &VerifiedProof {
        &self.proof
    }

    /// Whether no witness that we know has seen it.
    pub fn is_unwitnessed(&self) -> bool {
        self.proof.checkpoint().cosignatures().is_empty()
    }

    /// Checks that exactly these objects were sealed.
    ///
    /// # Errors
    /// [`ReceiptError::List`] if others were, or if the seal names no list.
    pub fn check_list(&self, list: &ObjectList) -> Result<(), ReceiptError> {
        let root = list.root();
        match self.seal.list {
            Some(sealed) if sealed.0.as_bytes() == root.as_bytes() => Ok(()),
            _ => Err(ReceiptError::List),
        }
    }
}

#[cfg(test)]
mod tests {
    use outlast_log::{Checkpoint, KeyKind, SigningKey, tree_root};
    use outlast_object::{Id, ObjectName};

    use super::*;
    use crate::entry::{IdText, Start};

    fn receipt(event: Event, key: &SigningKey) -> Receipt {
        let entry = Entry::new(5, 6, [1; 16], event);
        let checkpoint = Checkpoint {
            origin: key.verifier().name().to_owned(),
            size: 1,
            root: tree_root([entry.leaf()]),
        };
        Receipt {
            entry: entry.encode(),
            proof: OfflineProof {
                extra: None,
                index: 0,
                hashes: Vec::new(),
                checkpoint: checkpoint.sign(key).unwrap(),
            },
        }
    }

    fn seal(list: &ObjectList) -> Event {
        let zero = IdText(Id::from_bytes([0; 32]));
        Event::Seal(Seal {
            repository: "web1".parse().unwrap(),
            snapshot: zero,
            list: Some(IdText(Id::from_bytes(*list.root().as_bytes()))),
            objects: 1,
            bytes: 9,
            until: 100,
            verified: 5,
            token: None,
            previous: zero,
        })
    }

    #[test]
    fn a_receipt_counts_only_from_its_custodian_and_for_its_list() {
        let key = SigningKey::from_seed("vault", KeyKind::Note, &[1; 32]).unwrap();
        let list = ObjectList::new([ObjectName::CONFIG]);
        let text = receipt(seal(&list), &key).encode();
        let parsed = Receipt::parse(&text).unwrap();
        let verified = parsed.verify(&key.verifier(), &[]).unwrap();
        assert_eq!((verified.seal().until, verified.time()), (100, 5));
        assert!(verified.is_unwitnessed());
        assert_eq!(verified.check_list(&list), Ok(()));
        let other = ObjectList::new([ObjectName::pack(Id::from_bytes([1; 32]))]);
        assert_eq!(verified.check_list(&other), Err(ReceiptError::List));

        let stranger = SigningKey::from_seed("vault", KeyKind::Note, &[2; 32]).unwrap();
        assert!(parsed.verify(&stranger.verifier(), &[]).is_err());
        for at in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= 1;
            let Ok(changed) = String::from_utf8(bytes) else {
                continue;
            };
            let outcome =
                Receipt::parse(&changed).and_then(|receipt| receipt.verify(&key.verifier(), &[]));
            assert!(outcome.is_err(), "byte {at}");
        }
    }

    #[test]
    fn other_entries_are_no_receipts() {
        let key = SigningKey::from_seed("vault", KeyKind::Note, &[1; 32]).unwrap();
        let start = Event::Start(Start {
            software: "x".to_owned(),
        });
        let outcome = receipt(start, &key).verify(&key.verifier(), &[]);
        assert_eq!(outcome, Err(ReceiptError::NoSeal));
    }
}
