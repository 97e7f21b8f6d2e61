//! Storing anew what is still needed of packs that will go.
//!
//! Sealed bytes are taken over as they are, after they were opened and checked against the blob's
//! id; only what is to be compressed is sealed again.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use outlast_format::{BlobDecoder, BlobKind, Compressor, EncodedBlob, PackedBlob, encode_blob};

use super::plan::{Fate, Plan};
use super::{PruneOptions, PruneRefusal};
use crate::environment::random_iv;
use crate::pack_blobs::read_sealed;
use crate::{
    BlobIndex, Cancel, PackNumber, Progress, RepoError, Repository, Saver, SaverOptions, Stage,
    threads, with_saver,
};

/// Threads that read packs at most. Each holds one range of a pack.
const THREADS_MAX: usize = 4;

struct Repacking<'a> {
    repository: &'a Repository,
    options: &'a PruneOptions,
    plan: &'a Plan,
    /// The index as it was planned with; the repository's own is filled with what is stored anew.
    index: &'a BlobIndex,
    progress: &'a dyn Progress,
    cancel: &'a Cancel,
    stored: AtomicU64,
}

/// Compressors of one thread, made when first needed.
#[derive(Default)]
struct Compressors {
    data: Option<Compressor>,
    tree: Option<Compressor>,
}

/// Stores all blobs anew that the plan keeps in packs that will be repacked. When it succeeds, they
/// are durable and indexed.
pub(super) fn repack(
    repository: &Repository,
    options: &PruneOptions,
    plan: &Plan,
    index: &BlobIndex,
    progress: &dyn Progress,
    cancel: &Cancel,
) -> Result<(), RepoError> {
    let packs: Vec<PackNumber> = plan.packs_with(Fate::Repack).collect();
    if packs.is_empty() {
        return Ok(());
    }
    progress.begin(Stage::Repack, packs.len() as u64);
    let repacking = Repacking {
        repository,
        options,
        plan,
        index,
        progress,
        cancel,
        stored: AtomicU64::new(0),
    };
    let wanted: u64 = packs
        .iter()
        .map(|pack| repacking.kept_entries(*pack).count() as u64)
        .sum();
    let next = AtomicUsize::new(0);
    let connections = repository.store().connections().clamp(1, THREADS_MAX);
    with_saver(repository, SaverOptions::default(), cancel, |saver| {
        threads::run(connections.min(packs.len()), &|| {
            let mut compressors = Compressors::default();
            let mut decoder = BlobDecoder::new();
            while let Some(pack) = packs.get(next.fetch_add(1, Ordering::Relaxed)) {
                repacking.repack_one(*pack, saver, &mut compressors, &mut decoder)?;
            }
            Ok(())
        })
    })?;
    let stored = repacking.stored.into_inner();
    if stored != wanted {
        let text = format!("{stored} of {wanted} blobs were stored anew; nothing was removed");
        return Err(RepoError::Refused(text));
    }
    Ok(())
}

impl Repacking<'_> {
    fn kept_entries(&self, pack: PackNumber) -> impl Iterator<Item = usize> + '_ {
        let entries = self.plan.by_pack.of(pack).iter();
        entries
            .map(|number| *number as usize)
            .filter(|number| self.plan.keep.get(*number))
    }

    fn repack_one(
        &self,
        pack: PackNumber,
        saver: &Saver<'_>,
        compressors: &mut Compressors,
        decoder: &mut BlobDecoder,
    ) -> Result<(), RepoError> {
        let locations = self
            .kept_entries(pack)
            .filter_map(|number| self.index.entry_at(&self.plan.used.numbers, number));
        let mut blobs: Vec<PackedBlob> = locations.map(|location| location.blob).collect();
        let Some(pack_id) = self.index.packs().get(pack.0 as usize).copied() else {
            return Ok(());
        };
        read_sealed(self.repository, pack_id, &mut blobs, &mut |blob, sealed| {
            self.cancel.check()?;
            saver.check()?;
            let key = self.repository.key();
            let opened = sealed.ok().and_then(|bytes| {
                let length = blob.uncompressed_length;
                let plaintext = decoder.decode(blob.handle, bytes, length, key).ok()?;
                Some((bytes, plaintext))
            });
            let (encoded, plaintext_bytes) = match opened {
                Some((_, plaintext)) if self.must_compress(blob) => (
                    compress(self.repository, blob, &plaintext, saver, compressors)?,
                    plaintext.len(),
                ),
                Some((bytes, plaintext)) => (reuse(blob, bytes.to_vec()), plaintext.len()),
                None => self.find_elsewhere(blob, saver, compressors)?,
            };
            saver.save_encoded(&encoded, plaintext_bytes as u64)?;
            self.stored.fetch_add(1, Ordering::Relaxed);
            Ok(())
        })?;
        self.progress.advance(Stage::Repack, 1);
        Ok(())
    }

    fn must_compress(&self, blob: &PackedBlob) -> bool {
        let wanted = blob.handle.kind == BlobKind::Tree || self.options.repack_uncompressed;
        blob.uncompressed_length == 0 && wanted && self.repository.config().version >= 2
    }

    /// A blob that cannot be read where it was planned, from another place, and the length of its
    /// plaintext in bytes.
    fn find_elsewhere(
        &self,
        blob: &PackedBlob,
        saver: &Saver<'_>,
        compressors: &mut Compressors,
    ) -> Result<(EncodedBlob, usize), RepoError> {
        for location in self.index.find(blob.handle) {
            match self.repository.load_blob_at(&location) {
                Ok(plaintext) => {
                    let repository = self.repository;
                    let encoded = compress(repository, blob, &plaintext, saver, compressors)?;
                    return Ok((encoded, plaintext.len()));
                }
                Err(error) => self.repository.of_one_object(error)?,
            };
        }
        Err(PruneRefusal::DamagedCopies(vec![blob.handle]).into())
    }
}

fn reuse(blob: &PackedBlob, sealed: Vec<u8>) -> EncodedBlob {
    EncodedBlob {
        handle: blob.handle,
        sealed,
        uncompressed_length: blob.uncompressed_length,
    }
}

/// Seals a blob again. It is compressed even where that makes it no smaller: what is not compressed
/// would be repacked by every run.
fn compress(
    repository: &Repository,
    blob: &PackedBlob,
    plaintext: &[u8],
    saver: &Saver<'_>,
    compressors: &mut Compressors,
) -> Result<EncodedBlob, RepoError> {
    let (kind, key, iv) = (blob.handle.kind, repository.key(), random_iv()?);
    let compressor = match kind {
        BlobKind::Data => &mut compressors.data,
        BlobKind::Tree => &mut compressors.tree,
    };
    if compressor.is_none() {
        *compressor = saver.compressor(kind)?;
    }
    match compressor {
        Some(compressor) if !plaintext.is_empty() => Ok(EncodedBlob {
            handle: blob.handle,
            sealed: key.seal(iv, &compressor.compress(plaintext)?)?,
            uncompressed_length: plaintext.len() as u32,
        }),
        _ => Ok(encode_blob(blob.handle, plaintext, None, key, iv)?),
    }
}
