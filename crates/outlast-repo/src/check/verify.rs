//! Verifying one pack from end to end: its hash, its header, each of its blobs, and whether the index
//! tells the truth about it.
//!
//! The pack's own header is believed rather than the index, since it is sealed together with the
//! blobs, while anybody with the key can add an index that says anything.

use std::collections::{HashMap, HashSet};
use std::io::{self, Cursor, Read};

use outlast_format::{BlobHandle, PackedBlob, SEAL_BYTES, decode_blob};
use outlast_object::{HashingReader, Id, ObjectName, PACK_BYTES_MAX};
use outlast_store::{Store, StoreError};

use super::finding::{PackProblem, PackProblems};
use parking_lot::Mutex;

use crate::pack_read::parse_whole_pack;
use crate::{Cancel, RepoError, Repository, read_pack_header};

/// Packs up to this size are fetched with one request.
const WHOLE_BYTES_MAX: u64 = 32 * 1024 * 1024;
/// Bytes fetched with one request of larger packs.
const WINDOW_BYTES: usize = 8 * 1024 * 1024;

/// What the index says of one pack.
#[derive(Debug, Clone, Default)]
pub(super) struct PackClaims {
    pub(super) id: Id,
    /// Size that follows from the entries.
    pub(super) expected_bytes: u64,
    /// All entries.
    pub(super) blobs: Vec<PackedBlob>,
}

/// Blobs larger than this are unpacked by one thread at a time. No honest data blob is.
const LARGE_BLOB_BYTES: u64 = 16 * 1024 * 1024;

/// One entry of the index, told apart from all others of the pack.
pub(super) type Claim = (BlobHandle, u32, u32, u32);

pub(super) fn claim_of(blob: &PackedBlob) -> Claim {
    let PackedBlob {
        handle,
        offset,
        length,
        uncompressed_length,
    } = *blob;
    (handle, offset, length, uncompressed_length)
}

/// What was found out about one pack.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    pub(super) problems: PackProblems,
    /// Something is wrong with the pack itself, not only with what the index says of it.
    pub(super) is_damaged: bool,
    /// What the index claims and what is not so, or not intact.
    pub(super) bad_places: HashSet<Claim>,
    /// Blobs that the index misplaces and that are intact where the header says.
    pub(super) rescued: Vec<BlobHandle>,
}

impl Verdict {
    fn add(&mut self, problem: PackProblem) {
        self.is_damaged |= !problem.is_of_index();
        self.problems.add(problem);
    }

    pub(super) fn is_clean(&self) -> bool {
        self.problems.is_empty()
    }
}

/// Reads a pack of `size` bytes and compares it with what the index says. An error means that the
/// store is away or somebody asked to stop; damage is a verdict.
pub(super) fn verify_pack(
    repository: &Repository,
    claims: &PackClaims,
    size: u64,
    large_blobs: &Mutex<()>,
    cancel: &Cancel,
) -> Result<Verdict, RepoError> {
    let mut verification = Verification {
        repository,
        claims,
        size,
        large_blobs,
        cancel,
        verdict: Verdict::default(),
    };
    if size != claims.expected_bytes {
        verification.verdict.add(PackProblem::Size {
            expected: claims.expected_bytes,
            found: size,
        });
    }
    verification.run()?;
    Ok(verification.verdict)
}

struct Verification<'a> {
    repository: &'a Repository,
    claims: &'a PackClaims,
    size: u64,
    large_blobs: &'a Mutex<()>,
    cancel: &'a Cancel,
    verdict: Verdict,
}

impl Verification<'_> {
    fn run(&mut self) -> Result<(), RepoError> {
        let name = ObjectName::pack(self.claims.id);
        let store = self.repository.store();
        if self.size > PACK_BYTES_MAX {
            self.unreadable("it is larger than any pack can be".to_owned());
            return Ok(());
        }
        if self.size <= WHOLE_BYTES_MAX {
            let bytes = match store.read_range(&name, 0, self.size as usize) {
                Ok(bytes) => bytes,
                Err(error) => return self.fetch_failed(error),
            };
            let header = parse_whole_pack(&bytes, name, self.repository.key());
            return self.stream(Cursor::new(bytes), header);
        }
        let (id, key) = (self.claims.id, self.repository.key());
        let header = match read_pack_header(store, key, id, Some(self.size)) {
            Err(RepoError::Store(error)) => return self.fetch_failed(error),
            header => header,
        };
        let mut window = WindowReader {
            store,
            name,
            size: self.size,
            next: 0,
            window: Cursor::new(Vec::new()),
            failure: None,
        };
        let result = self.stream(&mut window, header);
        match window.failure.take() {
            Some(error) => self.fetch_failed(error),
            None => result,
        }
    }

    /// All places count as bad when nothing can be read.
    fn unreadable(&mut self, reason: String) {
        self.verdict.add(PackProblem::Unreadable(reason));
        let places = self.claims.blobs.iter().map(claim_of);
        self.verdict.bad_places.extend(places);
        self.verdict.rescued.clear();
    }

    fn fetch_failed(&mut self, error: StoreError) -> Result<(), RepoError> {
        if error.is_not_found() {
            self.repository.ensure_present()?;
            self.verdict = Verdict {
                problems: PackProblems::one(PackProblem::Missing),
                is_damaged: true,
                bad_places: self.claims.blobs.iter().map(claim_of).collect(),
                rescued: Vec::new(),
            };
            return Ok(());
        }
        let error = self.repository.of_one_object(error.into())?;
        self.unreadable(error.to_string());
        Ok(())
    }

    /// Reads all bytes once, in order, and verifies the blobs on the way.
    fn stream(
        &mut self,
        reader: impl Read,
        header: Result<Vec<PackedBlob>, RepoError>,
    ) -> Result<(), RepoError> {
        let mut reader = HashingReader::new(reader);
        let blobs = match header {
            Ok(blobs) => blobs,
            Err(error) => {
                let reason = match error {
                    RepoError::Damaged { reason, .. } => reason,
                    other => other.to_string(),
                };
                self.verdict.add(PackProblem::Header(reason));
                self.verify_claims_alone()?;
                return self.finish(reader);
            }
        };
        let mut intact = HashMap::with_capacity(blobs.len());
        let mut sealed = Vec::new();
        for blob in &blobs {
            self.cancel.check()?;
            let is_large = u64::from(blob.length.max(blob.plaintext_length())) > LARGE_BLOB_BYTES;
            let _alone = is_large.then(|| self.large_blobs.lock());
            if let Err(error) = read_blob(&mut reader, blob, &mut sealed) {
                self.unreadable(error.to_string());
                return Ok(());
            }
            intact.insert((blob.handle, blob.offset), self.verify_blob(blob, &sealed));
            if is_large {
                sealed = Vec::new();
            }
        }
        self.compare(&blobs, &intact);
        self.finish(reader)
    }

    fn verify_blob(&mut self, blob: &PackedBlob, sealed: &[u8]) -> bool {
        let key = self.repository.key();
        match decode_blob(blob.handle, sealed, blob.uncompressed_length, key) {
            Ok(_) => true,
            Err(error) => {
                let (handle, reason) = (blob.handle, error.to_string());
                self.verdict.add(PackProblem::Blob { handle, reason });
                false
            }
        }
    }

    /// Compares what the pack holds with what the index says.
    fn compare(&mut self, blobs: &[PackedBlob], intact: &HashMap<(BlobHandle, u32), bool>) {
        let held: HashMap<(BlobHandle, u32), &PackedBlob> = blobs
            .iter()
            .map(|blob| ((blob.handle, blob.offset), blob))
            .collect();
        let mut claimed = HashSet::with_capacity(self.claims.blobs.len());
        for claim in &self.claims.blobs {
            let place = (claim.handle, claim.offset);
            if held.get(&place).is_some_and(|blob| *blob == claim) {
                claimed.insert(place);
                if !intact.get(&place).is_some_and(|intact| *intact) {
                    self.verdict.bad_places.insert(claim_of(claim));
                }
            } else {
                self.verdict.add(PackProblem::NotInPack(claim.handle));
                self.verdict.bad_places.insert(claim_of(claim));
            }
        }
        // Reading looks for a blob in the packs that an index names for it, and in no others.
        let looked_for: HashSet<BlobHandle> =
            self.claims.blobs.iter().map(|claim| claim.handle).collect();
        for blob in blobs {
            let place = (blob.handle, blob.offset);
            if !claimed.contains(&place) {
                self.verdict.add(PackProblem::NotInIndex(blob.handle));
                if looked_for.contains(&blob.handle)
                    && intact.get(&place).is_some_and(|intact| *intact)
                {
                    self.verdict.rescued.push(blob.handle);
                }
            }
        }
    }

    /// Without a header there is only the index to say where blobs are.
    fn verify_claims_alone(&mut self) -> Result<(), RepoError> {
        for blob in &self.claims.blobs {
            self.cancel.check()?;
            let name = ObjectName::pack(self.claims.id);
            let range = (u64::from(blob.offset), blob.length as usize);
            let intact = if blob.end() > self.size || blob_is_absurd(blob) {
                false
            } else {
                match self.repository.store().read_range(&name, range.0, range.1) {
                    Ok(sealed) => self.verify_blob(blob, &sealed),
                    Err(error) => {
                        self.repository.of_one_object(error.into())?;
                        false
                    }
                }
            };
            if !intact {
                self.verdict.bad_places.insert(claim_of(blob));
            }
        }
        Ok(())
    }

    fn finish(&mut self, mut reader: HashingReader<impl Read>) -> Result<(), RepoError> {
        if let Err(error) = io::copy(&mut reader, &mut io::sink()) {
            self.unreadable(error.to_string());
            return Ok(());
        }
        let (found, _) = reader.finish();
        if found != self.claims.id {
            self.verdict.add(PackProblem::Hash(found));
        }
        Ok(())
    }
}

/// Whether no blob can be so long. Asking for the memory would be what an attacker wants.
fn blob_is_absurd(blob: &PackedBlob) -> bool {
    u64::from(blob.length) > blob.handle.kind.bytes_max() + SEAL_BYTES as u64
}

/// Reads the next blob; of one that is absurdly long nothing is kept.
fn read_blob(reader: &mut impl Read, blob: &PackedBlob, sealed: &mut Vec<u8>) -> io::Result<()> {
    sealed.clear();
    let mut part = reader.take(u64::from(blob.length));
    let read = if blob_is_absurd(blob) {
        io::copy(&mut part, &mut io::sink())?
    } else {
        part.read_to_end(sealed)? as u64
    };
    if read < u64::from(blob.length) {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(())
}

/// Reads a large pack from a store window by window.
struct WindowReader<'a> {
    store: &'a dyn Store,
    name: ObjectName,
    size: u64,
    next: u64,
    window: Cursor<Vec<u8>>,
    failure: Option<StoreError>,
}

impl Read for &mut WindowReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.window.read(buffer)?;
        if read > 0 || buffer.is_empty() || self.next >= self.size {
            return Ok(read);
        }
        let length = (self.size - self.next).min(WINDOW_BYTES as u64);
        match self
            .store
            .read_range(&self.name, self.next, length as usize)
        {
            Ok(bytes) => {
                self.next += length;
                self.window = Cursor::new(bytes);
                self.window.read(buffer)
            }
            Err(error) => {
                let text = error.to_string();
                self.failure = Some(error);
                Err(io::Error::other(text))
            }
        }
    }
}
