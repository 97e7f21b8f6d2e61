//! A client that believes nothing unverified.

use outlast_custody::{IdText, ObjectList, Receipt, ReceiptError, VerifiedReceipt};
use outlast_log::{
    Checkpoint, TILE_WIDTH, Tile, VerifiedCheckpoint, VerifierKey, prove_consistency,
    subtree_in_tile, verify_consistency,
};
use outlast_object::{Id, ObjectKind};
use outlast_store::{Answer, Requests, RestLocation, RestOptions, Secret, StoreError, TlsOptions};
use serde::de::DeserializeOwned;
use url::Url;

use crate::Invite;
use crate::api::{
    ANSWER_BYTES_MAX, ErrorBody, NAMES_MAX, ObjectPage, ObjectRow, Outcome, Presence,
    RepositoryState, SealMade, SealPage, SealRow,
};
use crate::batch::Batch;

/// Longest receipt and longest checkpoint, in bytes.
const NOTE_BYTES_MAX: u64 = 256 * 1024;
/// Bytes of a full tile.
const TILE_BYTES_MAX: u64 = TILE_WIDTH * 32;
/// Bytes of a record in a list of objects.
const LIST_RECORD_BYTES: u64 = 33;
/// Pages of one listing are followed up to so many: a vault cannot keep us busy for ever.
const PAGES_MAX: usize = 100_000;

/// Why a vault's answer is of no use.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// The vault cannot be reached, or is not the one whose key is pinned.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The vault refuses.
    #[error("the vault refuses: {message}")]
    Refused {
        /// Status of HTTP.
        status: u16,
        /// A word for programs.
        code: String,
        /// A sentence for people.
        message: String,
        /// The object that it is about.
        object: Option<String>,
    },
    /// The answer is not what the protocol says.
    #[error("the vault's answer makes no sense: {0}")]
    Malformed(String),
    /// The answer does not prove what it must.
    #[error("the vault's answer proves nothing: {0}")]
    Unproven(String),
    /// A receipt does not hold.
    #[error(transparent)]
    Receipt(#[from] ReceiptError),
    /// The log is not the continuation of what it was: something that was in it is gone or
    /// changed.
    #[error(
        "the vault's log is not what it was: it had {old_size} entries with root {old_root}, and now claims {new_size} that do not continue them. Keep this evidence: the custodian has dropped or rewritten something"
    )]
    LogForked {
        /// Entries that were seen before.
        old_size: u64,
        /// Their root.
        old_root: String,
        /// Entries that are claimed now.
        new_size: u64,
        /// The checkpoint that is signed now.
        evidence: Vec<u8>,
    },
}

/// A seal that was made, and verified to be in the vault's log.
#[derive(Debug, Clone)]
pub struct Sealed {
    /// Index of its entry.
    pub index: u64,
    /// The receipt, to be kept.
    pub receipt: Receipt,
    /// What it proves.
    pub verified: VerifiedReceipt,
}

/// Speaks with one vault about one repository.
pub struct VaultClient {
    requests: Requests,
    identity: VerifierKey,
    repository: String,
}

/// Where the repository of an invite is reached with restic's protocol, address by address.
/// `prefix` is empty, or the view: `as-of/2026-11-01/`.
///
/// # Errors
/// [`StoreError::Location`] if an address cannot be used.
pub fn locations(invite: &Invite, prefix: &str) -> Result<Vec<RestLocation>, StoreError> {
    let path = format!("{prefix}{}/", invite.repository);
    invite
        .addresses
        .iter()
        .map(|address| location(invite, address, &path))
        .collect()
}

fn location(invite: &Invite, address: &str, path: &str) -> Result<RestLocation, StoreError> {
    let scheme = if invite.pin.is_some() {
        "https"
    } else {
        "http"
    };
    let url = Url::parse(&format!("{scheme}://{address}/{path}"))
        .map_err(|error| StoreError::Location(format!("the address {address}: {error}")))?;
    let is_here = match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    if invite.pin.is_none() && !is_here {
        return Err(StoreError::Location(format!(
            "the vault at {address} has no TLS: without it tokens and backups would be shown to the network"
        )));
    }
    Ok(RestLocation {
        url,
        user: Some(invite.token.to_string()),
        password: Some(Secret::new(invite.secret.clone())),
    })
}

impl VaultClient {
    /// A client for what an invite names, at one of its addresses. Nothing is sent yet. Of the
    /// options only timeouts, connections and throttle count.
    ///
    /// # Errors
    /// [`WireError::Store`] if the address cannot be used.
    pub fn new(invite: &Invite, address: &str, options: RestOptions) -> Result<Self, WireError> {
        let options = RestOptions {
            tls: TlsOptions {
                pin: invite.pin,
                ..TlsOptions::default()
            },
            ..options
        };
        Ok(Self {
            requests: Requests::new(&location(invite, address, "")?, &options)?,
            identity: invite.identity.clone(),
            repository: format!("v1/repositories/{}", invite.repository),
        })
    }

    /// Whose receipts and checkpoints count.
    pub fn identity(&self) -> &VerifierKey {
        &self.identity
    }

    fn send(&self, path: &str, body: Option<&[u8]>, max: u64) -> Result<Vec<u8>, WireError> {
        let Answer { status, body } = self.requests.send(path, body, max)?;
        if (200..300).contains(&status) {
            return Ok(body);
        }
        let error = serde_json::from_slice::<ErrorBody>(&body);
        Err(match error {
            Ok(ErrorBody { error }) => WireError::Refused {
                status,
                code: printable(&error.code),
                message: printable(&error.message),
                object: error.object.as_deref().map(printable),
            },
            Err(_) => WireError::Refused {
                status,
                code: "unknown".to_owned(),
                message: printable(&format!(
                    "status {status}, {}",
                    String::from_utf8_lossy(&body[..body.len().min(300)]).trim()
                )),
                object: None,
            },
        })
    }

    fn json<T: DeserializeOwned>(&self, path: &str, body: Option<&[u8]>) -> Result<T, WireError> {
        let bytes = self.send(path, body, ANSWER_BYTES_MAX)?;
        serde_json::from_slice(&bytes).map_err(|error| WireError::Malformed(error.to_string()))
    }

    /// How the repository is, by the vault's own words.
    ///
    /// # Errors
    /// [`WireError`].
    pub fn state(&self) -> Result<RepositoryState, WireError> {
        self.json(&self.repository, None)
    }

    /// Which of these objects are there, in the order of the list.
    ///
    /// # Errors
    /// [`WireError`].
    pub fn presence(&self, list: &ObjectList) -> Result<Vec<Option<Presence>>, WireError> {
        let path = format!("{}/presence", self.repository);
        let mut all = Vec::with_capacity(list.objects().len());
        for part in list.objects().chunks(NAMES_MAX) {
            let bytes = ObjectList::new(part.iter().copied()).encode();
            let found: Vec<Option<Presence>> = self.json(&path, Some(&bytes))?;
            if found.len() != part.len() {
                let message = format!("{} answers to {} names", found.len(), part.len());
                return Err(WireError::Malformed(message));
            }
            all.extend(found);
        }
        Ok(all)
    }

    /// All objects of a kind with their admissions, ascending by id.
    ///
    /// # Errors
    /// [`WireError`].
    pub fn objects(&self, kind: ObjectKind) -> Result<Vec<ObjectRow>, WireError> {
        let base = format!("{}/objects/{}", self.repository, kind.folder());
        let mut all: Vec<ObjectRow> = Vec::new();
        let mut path = base.clone();
        for _ in 0..PAGES_MAX {
            let page: ObjectPage = self.json(&path, None)?;
            let mut last = all.last().map(|row| row.id);
            for row in page.objects {
                if last.is_some_and(|last| last >= row.id) {
                    return Err(WireError::Malformed("a listing out of order".to_owned()));
                }
                last = Some(row.id);
                all.push(row);
            }
            match page.next {
                None => return Ok(all),
                Some(IdText(next)) => path = format!("{base}?after={next}"),
            }
        }
        Err(WireError::Malformed("a listing without end".to_owned()))
    }

    /// Uploads many small objects at once; says what became of each, in their order.
    ///
    /// # Errors
    /// [`WireError`]; what was stored by then is not known.
    pub fn put_batch(&self, batch: &Batch) -> Result<Vec<Outcome>, WireError> {
        let path = format!("{}/objects", self.repository);
        let outcomes: Vec<Outcome> = self.json(&path, Some(batch.as_bytes()))?;
        if outcomes.len() == batch.len() {
            Ok(outcomes)
        } else {
            let message = format!("{} outcomes of {} objects", outcomes.len(), batch.len());
            Err(WireError::Malformed(message))
        }
    }

    /// Has a snapshot sealed with exactly these objects, and verifies the receipt: that the pinned
    /// vault signed it, that it is in the log, and that it covers this snapshot and this list.
    ///
    /// # Errors
    /// [`WireError`]; then nothing is to be counted as held.
    pub fn seal(&self, snapshot: Id, list: &ObjectList) -> Result<Sealed, WireError> {
        let path = format!("{}/seals?snapshot={snapshot}", self.repository);
        let made: SealMade = self.json(&path, Some(&list.encode()))?;
        let sealed = self.verify(made.index, &made.receipt)?;
        sealed.verified.check_list(list)?;
        if sealed.verified.seal().snapshot.0 != snapshot {
            let message = "the receipt is for another snapshot".to_owned();
            return Err(WireError::Unproven(message));
        }
        Ok(sealed)
    }

    /// The receipt of a seal, verified.
    ///
    /// # Errors
    /// [`WireError`].
    pub fn receipt(&self, index: u64) -> Result<Sealed, WireError> {
        let path = format!("{}/seals/{index}/receipt", self.repository);
        let text = self.send(&path, None, NOTE_BYTES_MAX)?;
        let text = String::from_utf8(text)
            .map_err(|_| WireError::Malformed("a receipt that is not text".to_owned()))?;
        self.verify(index, &text)
    }

    fn verify(&self, index: u64, text: &str) -> Result<Sealed, WireError> {
        let receipt = Receipt::parse(text)?;
        let verified = receipt.verify(&self.identity, &[])?;
        if verified.proof().index() != index {
            let message = "the receipt is of another entry".to_owned();
            return Err(WireError::Unproven(message));
        }
        let repository = &verified.seal().repository;
        if !self.repository.ends_with(&format!("/{repository}")) {
            let message = format!("the receipt is for the repository {repository}");
            return Err(WireError::Unproven(message));
        }
        Ok(Sealed {
            index,
            receipt,
            verified,
        })
    }

    /// The seals of the repository by the vault's words, those of one snapshot or all.
    ///
    /// # Errors
    /// [`WireError`].
    pub fn seals(&self, snapshot: Option<Id>) -> Result<Vec<SealRow>, WireError> {
        let of = snapshot.map_or_else(String::new, |id| format!("snapshot={id}&"));
        let mut all: Vec<SealRow> = Vec::new();
        let mut after = String::new();
        for _ in 0..PAGES_MAX {
            let page: SealPage =
                self.json(&format!("{}/seals?{of}{after}", self.repository), None)?;
            let last = all.last().map(|row| row.index);
            if page
                .seals
                .first()
                .is_some_and(|row| Some(row.index) <= last)
            {
                return Err(WireError::Malformed("a listing out of order".to_owned()));
            }
            all.extend(page.seals);
            match page.next {
                None => return Ok(all),
                Some(next) => after = format!("after={next}"),
            }
        }
        Err(WireError::Malformed("a listing without end".to_owned()))
    }

    /// The list of objects that a seal covers, checked against its verified receipt.
    ///
    /// # Errors
    /// [`WireError`].
    pub fn sealed_list(&self, sealed: &Sealed) -> Result<ObjectList, WireError> {
        let path = format!("{}/seals/{}/list", self.repository, sealed.index);
        let bytes_max = sealed
            .verified
            .seal()
            .objects
            .saturating_mul(LIST_RECORD_BYTES);
        let bytes = self.send(&path, None, bytes_max)?;
        let list =
            ObjectList::decode(&bytes).map_err(|error| WireError::Malformed(error.to_string()))?;
        sealed.verified.check_list(&list)?;
        Ok(list)
    }

    /// The newest checkpoint of the vault's log, verified, and proven to continue all those that
    /// were seen before.
    ///
    /// # Errors
    /// [`WireError::LogForked`] if it does not.
    pub fn checkpoint(&self, before: &[&Checkpoint]) -> Result<VerifiedCheckpoint, WireError> {
        let note = self.send("checkpoint", None, NOTE_BYTES_MAX)?;
        let verified = VerifiedCheckpoint::open(&note, &self.identity, &[])
            .map_err(|error| WireError::Unproven(error.to_string()))?;
        for before in before {
            self.check_continues(before, verified.checkpoint(), &note)?;
        }
        Ok(verified)
    }

    fn check_continues(
        &self,
        old: &Checkpoint,
        new: &Checkpoint,
        note: &[u8],
    ) -> Result<(), WireError> {
        let forked = || WireError::LogForked {
            old_size: old.size,
            old_root: hex::encode(old.root.as_bytes()),
            new_size: new.size,
            evidence: note.to_vec(),
        };
        if new.size < old.size {
            return Err(forked());
        }
        let proof = prove_consistency(old.size, new.size, |level, index| {
            self.subtree(new.size, level, index)
        })?;
        verify_consistency(old.size, &old.root, new.size, &new.root, &proof).map_err(|_| forked())
    }

    /// The hash of a complete subtree out of the vault's tiles. It is not verified by itself: the
    /// proof that is made of such hashes is.
    fn subtree(&self, size: u64, level: u8, index: u64) -> Result<outlast_log::Hash, WireError> {
        let full = Tile::containing(level, index);
        let hashes = size >> (8 * u32::from(full.level)).min(63);
        let there = hashes.saturating_sub(full.index.saturating_mul(TILE_WIDTH));
        let tile = Tile {
            width: u16::try_from(there.min(TILE_WIDTH)).unwrap_or_default(),
            ..full
        };
        let bytes = self.send(&tile.path(), None, TILE_BYTES_MAX)?;
        subtree_in_tile(&bytes, level, index)
            .map_err(|error| WireError::Malformed(error.to_string()))
    }
}

/// What a server says, fit for a terminal.
fn printable(text: &str) -> String {
    let clean = |character: char| {
        if character.is_control() {
            '\u{fffd}'
        } else {
            character
        }
    };
    text.chars().take(500).map(clean).collect()
}
