//! A client that believes nothing unverified.

mod error;
mod log;
mod paging;

use std::sync::Arc;
use std::time::Duration;

use outlast_custody::{LIST_OBJECTS_MAX, ObjectList, Receipt, VerifiedReceipt};
use outlast_log::VerifierKey;
use outlast_object::{Id, ObjectKind};
use outlast_store::{
    Answer, Clock, Requests, RestLocation, RestOptions, Secret, StoreError, SystemClock, TlsOptions,
};
use serde::de::DeserializeOwned;
use url::Url;

use crate::Invite;
use crate::api::{
    ANSWER_BYTES_MAX, ErrorBody, NAMES_MAX, ObjectPage, ObjectRow, Outcome, Presence,
    RepositoryState, SealMade, SealPage, SealRow,
};
use crate::batch::Batch;

pub use error::WireError;
use paging::Pages;

/// Longest receipt and longest checkpoint, in bytes.
const NOTE_BYTES_MAX: u64 = 256 * 1024;
/// Bytes of a record in a list of objects.
const LIST_RECORD_BYTES: u64 = 33;
/// Most rows in a listing.
const ROWS_MAX: usize = LIST_OBJECTS_MAX;
/// How often a request is made until it is given up. Each can be repeated without harm: what is kept
/// already is known, and a seal asked for again is the one that was made.
const ATTEMPTS_MAX: u32 = 3;
/// The pause after the first failure; each further one is twice as long.
const PAUSE: Duration = Duration::from_millis(500);
/// The pause where a token has made too many requests: all of them reach into the next minute.
const PAUSE_AFTER_TOO_MANY: Duration = Duration::from_secs(30);

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
    clock: Arc<dyn Clock>,
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
            clock: Arc::new(SystemClock::default()),
        })
    }

    /// The same, waiting on another clock between attempts.
    #[must_use]
    pub fn with_clock(self, clock: Arc<dyn Clock>) -> Self {
        Self { clock, ..self }
    }

    /// Whose receipts and checkpoints count.
    pub fn identity(&self) -> &VerifierKey {
        &self.identity
    }

    /// Asks until there is an answer that says more than that the vault is away or busy.
    fn answer(&self, path: &str, body: Option<&[u8]>, max: u64) -> Result<Answer, StoreError> {
        let mut attempt = 1;
        loop {
            let outcome = self.requests.send(path, body, max);
            let may_succeed_later = match &outcome {
                Ok(answer) => answer.status == 503 || answer.status == 429,
                Err(error) => error.is_retryable(),
            };
            if !may_succeed_later || attempt == ATTEMPTS_MAX || self.clock.is_cancelled() {
                return outcome;
            }
            let has_asked_too_much = outcome.is_ok_and(|answer| answer.status == 429);
            self.clock.wait(if has_asked_too_much {
                PAUSE_AFTER_TOO_MANY
            } else {
                PAUSE.saturating_mul(1 << (attempt - 1))
            });
            attempt += 1;
        }
    }

    fn send(&self, path: &str, body: Option<&[u8]>, max: u64) -> Result<Vec<u8>, WireError> {
        let Answer { status, body } = self.answer(path, body, max)?;
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
        let mut pages = Pages::new(ROWS_MAX, |row: &ObjectRow| row.id);
        let mut path = base.clone();
        loop {
            let page: ObjectPage = self.json(&path, None)?;
            match pages.take(page.objects, page.next)? {
                None => return Ok(pages.into_rows()),
                Some(next) => path = format!("{base}?after={}", next.0),
            }
        }
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
        let base = format!("{}/seals?{of}", self.repository);
        let mut pages = Pages::new(ROWS_MAX, |row: &SealRow| row.index);
        let mut path = base.clone();
        loop {
            let page: SealPage = self.json(&path, None)?;
            match pages.take(page.seals, page.next)? {
                None => return Ok(pages.into_rows()),
                Some(next) => path = format!("{base}after={next}"),
            }
        }
    }

    /// The list of objects that a seal covers, checked against its verified receipt.
    ///
    /// # Errors
    /// [`WireError`].
    pub fn sealed_list(&self, sealed: &Sealed) -> Result<ObjectList, WireError> {
        let path = format!("{}/seals/{}/list", self.repository, sealed.index);
        // The seal is signed, but who signed it may lie.
        let objects = sealed.verified.seal().objects.min(LIST_OBJECTS_MAX as u64);
        let bytes_max = objects.saturating_mul(LIST_RECORD_BYTES);
        let bytes = self.send(&path, None, bytes_max)?;
        let list =
            ObjectList::decode(&bytes).map_err(|error| WireError::Malformed(error.to_string()))?;
        sealed.verified.check_list(&list)?;
        Ok(list)
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
