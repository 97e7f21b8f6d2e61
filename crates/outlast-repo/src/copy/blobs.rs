//! Copying the blobs of one snapshot, pack by pack.

use std::sync::atomic::{AtomicU32, Ordering};

use outlast_format::{BlobKind, Compressor, PackedBlob, decode_blob};

use super::Copying;
use crate::bits::Bits;
use crate::pack_blobs::read_sealed;
use crate::used_blobs::UsedBlobs;
use crate::{BlobLocation, PackNumber, RepoError, Saver, Stage, threads};

/// Threads that read packs at most. Each holds one range of a pack.
const THREADS_MAX: usize = 4;

/// Copies all blobs that are marked in `used` and not in `earlier`, unless the destination has them.
pub(super) fn copy_marked(
    copying: &Copying<'_>,
    used: &UsedBlobs,
    earlier: &Bits,
    saver: &Saver<'_>,
) -> Result<(), RepoError> {
    let source = copying.source;
    let packs = source.index().packs().len() as u32;
    let is_wanted = |number: usize| used.bits.get(number) && !earlier.get(number);
    let total = (0..used.numbers.count()).filter(|number| is_wanted(*number));
    copying.observer.begin(Stage::Copy, total.count() as u64);
    let next = AtomicU32::new(0);
    let connections = source.store().connections().clamp(1, THREADS_MAX);
    threads::run(connections, &|| {
        let mut compressors = [
            saver.compressor(BlobKind::Data)?,
            saver.compressor(BlobKind::Tree)?,
        ];
        loop {
            let pack = PackNumber(next.fetch_add(1, Ordering::Relaxed));
            if pack.0 >= packs {
                return Ok(());
            }
            saver.check()?;
            let wanted: Vec<BlobLocation> = {
                let index = source.index();
                let entries = copying.by_pack.of(pack).iter().map(|entry| *entry as usize);
                entries
                    .filter(|number| is_wanted(*number))
                    .filter_map(|number| index.entry_at(&used.numbers, number))
                    .collect()
            };
            copy_pack(copying, &wanted, saver, &mut compressors)?;
        }
    })
}

fn copy_pack(
    copying: &Copying<'_>,
    wanted: &[BlobLocation],
    saver: &Saver<'_>,
    compressors: &mut [Option<Compressor>; 2],
) -> Result<(), RepoError> {
    let Some(first) = wanted.first() else {
        return Ok(());
    };
    let pack = first.pack_id;
    let mut blobs: Vec<PackedBlob> = Vec::new();
    for location in wanted {
        if saver.is_stored(location.blob.handle)? {
            copying.observer.advance(Stage::Copy, 1);
        } else {
            blobs.push(location.blob);
        }
    }
    let source = copying.source;
    read_sealed(source, pack, &mut blobs, &mut |blob, sealed| {
        copying.cancel.check()?;
        let length = blob.uncompressed_length;
        let opened = sealed
            .ok()
            .and_then(|bytes| decode_blob(blob.handle, bytes, length, source.key()).ok());
        let plaintext = match opened {
            Some(plaintext) => plaintext,
            // Perhaps another pack has it intact; if not, this says what is wrong.
            None => source.load_blob(blob.handle)?,
        };
        let compressor = match blob.handle.kind {
            BlobKind::Data => &mut compressors[0],
            BlobKind::Tree => &mut compressors[1],
        };
        saver.save_as(blob.handle, &plaintext, compressor.as_mut())?;
        copying.observer.advance(Stage::Copy, 1);
        Ok(())
    })
}
