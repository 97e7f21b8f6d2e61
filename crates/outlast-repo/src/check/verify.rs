//! Verifying one pack from end to end: its hash, its header, each of its blobs, and whether the index
//! tells the truth about it.
//!
//! The pack's own header is believed rather than the index, since it is sealed together with the
//! blobs, while anybody with the key can add an index that says anything.

use std::collections::{HashMap, HashSet};
use std::io::{self, Cursor, Read};

use outlast_format::{BlobDecoder, BlobHandle, PackedBlob, SEAL_BYTES};
use outlast_object::{Hasher, HashingReader, Id, ObjectName, PACK_BYTES_MAX};
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

/// Memory of one thread that verifies pack after pack.
#[derive(Debug, Default)]
pub(super) struct VerifyScratch {
    pack: Vec<u8>,
    sealed: Vec<u8>,
    decoder: BlobDecoder,
}

/// Reads a pack of `size` bytes and compares it with what the index says. An error means that the
/// store is away or somebody asked to stop; damage is a verdict.
pub(super) fn verify_pack(
    repository: &Repository,
    claims: &PackClaims,
    size: u64,
    large_blobs: &Mutex<()>,
    scratch: &mut VerifyScratch,
    cancel: &Cancel,
) -> Result<Verdict, RepoError> {
    let mut verification = Verification {
        repository,
        claims,
        size,
        large_blobs,
        cancel,
        decoder: &mut scratch.decoder,
        verdict: Verdict::default(),
    };
    if size != claims.expected_bytes {
        verification.verdict.add(PackProblem::Size {
            expected: claims.expected_bytes,
            found: size,
        });
    }
    verification.run(&mut scratch.pack, &mut scratch.sealed)?;
    Ok(verification.verdict)
}

struct Verification<'a> {
    repository: &'a Repository,
    claims: &'a PackClaims,
    size: u64,
    large_blobs: &'a Mutex<()>,
    cancel: &'a Cancel,
    decoder: &'a mut BlobDecoder,
    verdict: Verdict,
}

impl Verification<'_> {
    fn run(&mut self, pack: &mut Vec<u8>, sealed: &mut Vec<u8>) -> Result<(), RepoError> {
        let name = ObjectName::pack(self.claims.id);
        let store = self.repository.store();
        if self.size > PACK_BYTES_MAX {
            self.unreadable("it is larger than any pack can be".to_owned());
            return Ok(());
        }
        if self.size <= WHOLE_BYTES_MAX {
            if let Err(error) = store.read_range_into(&name, 0, self.size as usize, pack) {
                return self.fetch_failed(error);
            }
            let header = parse_whole_pack(pack, name, self.repository.key());
            return self.stream(&mut WholePack::new(pack), header, sealed);
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
        let mut bytes = StreamedPack(HashingReader::new(&mut window));
        let result = self.stream(&mut bytes, header, sealed);
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
        pack: &mut dyn PackBytes,
        header: Result<Vec<PackedBlob>, RepoError>,
        sealed: &mut Vec<u8>,
    ) -> Result<(), RepoError> {
        let blobs = match header {
            Ok(blobs) => blobs,
            Err(error) => {
                let reason = match error {
                    RepoError::Damaged { reason, .. } => reason,
                    other => other.to_string(),
                };
                self.verdict.add(PackProblem::Header(reason));
                self.verify_claims_alone()?;
                return self.finish(pack);
            }
        };
        let mut intact = HashMap::with_capacity(blobs.len());
        for blob in &blobs {
            self.cancel.check()?;
            let is_large = u64::from(blob.length.max(blob.plaintext_length())) > LARGE_BLOB_BYTES;
            let _alone = is_large.then(|| self.large_blobs.lock());
            let bytes = match pack.next_blob(blob, sealed) {
                Ok(bytes) => bytes,
                Err(error) => {
                    self.unreadable(error.to_string());
                    return Ok(());
                }
            };
            intact.insert((blob.handle, blob.offset), self.verify_blob(blob, bytes));
            if is_large {
                *sealed = Vec::new();
            }
        }
        self.compare(&blobs, &intact);
        self.finish(pack)
    }

    fn verify_blob(&mut self, blob: &PackedBlob, sealed: &[u8]) -> bool {
        let key = self.repository.key();
        let length = blob.uncompressed_length;
        let error = self.decoder.decode(blob.handle, sealed, length, key).err();
        match error {
            None => true,
            Some(error) => {
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

    fn finish(&mut self, pack: &mut dyn PackBytes) -> Result<(), RepoError> {
        match pack.hash_of_all() {
            Ok(found) if found == self.claims.id => {}
            Ok(found) => self.verdict.add(PackProblem::Hash(found)),
            Err(error) => self.unreadable(error.to_string()),
        }
        Ok(())
    }
}

/// The bytes of a pack from its beginning on, hashed as they pass.
trait PackBytes {
    /// The sealed bytes of the next blob; nothing of one that is absurdly long. `sealed` is memory that
    /// may be used.
    fn next_blob<'s>(
        &'s mut self,
        blob: &PackedBlob,
        sealed: &'s mut Vec<u8>,
    ) -> io::Result<&'s [u8]>;

    /// Goes to the end of the pack. The hash of all bytes.
    fn hash_of_all(&mut self) -> io::Result<Id>;
}

/// A pack in memory.
struct WholePack<'a> {
    rest: &'a [u8],
    hasher: Hasher,
}

impl<'a> WholePack<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        let (rest, hasher) = (bytes, Hasher::new());
        Self { rest, hasher }
    }
}

impl PackBytes for WholePack<'_> {
    fn next_blob<'s>(&'s mut self, blob: &PackedBlob, _: &'s mut Vec<u8>) -> io::Result<&'s [u8]> {
        let split = self.rest.split_at_checked(blob.length as usize);
        let (sealed, rest) = split.ok_or(io::ErrorKind::UnexpectedEof)?;
        self.rest = rest;
        self.hasher.update(sealed);
        Ok(if blob_is_absurd(blob) { &[] } else { sealed })
    }

    fn hash_of_all(&mut self) -> io::Result<Id> {
        self.hasher.update(std::mem::take(&mut self.rest));
        Ok(std::mem::take(&mut self.hasher).finish())
    }
}

/// A pack that is read bit by bit.
struct StreamedPack<R>(HashingReader<R>);

impl<R: Read> PackBytes for StreamedPack<R> {
    fn next_blob<'s>(
        &'s mut self,
        blob: &PackedBlob,
        sealed: &'s mut Vec<u8>,
    ) -> io::Result<&'s [u8]> {
        read_blob(&mut self.0, blob, sealed)?;
        Ok(sealed)
    }

    fn hash_of_all(&mut self) -> io::Result<Id> {
        io::copy(&mut self.0, &mut io::sink())?;
        Ok(self.0.hash_so_far())
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
