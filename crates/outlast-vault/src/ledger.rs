//! The ledger: the log on disk, and the index over it.
//!
//! [`Ledger::append`] is the only way in. It is read from top to bottom, and each step says what a
//! crash there leaves; [`Ledger::open`] runs the same steps over what the journal holds.

use std::io::{self, Read};
use std::sync::Arc;

use outlast_custody::Entry;
use outlast_log::{
    Checkpoint, EntryBundle, Frontier, Hash, Note, SigningKey, TILE_WIDTH, Tile,
    VerifiedCheckpoint, encode_bundle_entry, prove_inclusion, subtree_in_tile,
};

use crate::VaultError;
use crate::disk::Disk;
use crate::index::{Applied, AppliedBatch, Index};
use crate::journal::{Reader, SEGMENT_ENTRIES, Writer, segment_path};

/// Largest segment that is read back: its entries and as many checkpoints.
const SEGMENT_BYTES_MAX: u64 = 1024 * 1024 * 1024;
/// Where the log is kept, in the layout that is served.
const LOG: &str = "log";
/// The newest checkpoint, as it is served.
const PUBLISHED: &str = "log/checkpoint";
/// Longest checkpoint, in bytes.
const CHECKPOINT_BYTES_MAX: u64 = 64 * 1024;

/// Told of every entry as it is applied, with its vault time; answers when the minimum hold of what
/// it admits ends.
pub type Applying<'a> = &'a dyn Fn(&Entry, u64) -> u64;

/// The log and its index.
pub struct Ledger {
    disk: Arc<dyn Disk>,
    index: Arc<Index>,
    key: SigningKey,
    applied: Applied,
    frontier: Frontier,
    /// For each level of tiles, the hashes of the last, partial one.
    edge: Vec<Vec<Hash>>,
    /// The entries of the last, partial bundle.
    bundle: Vec<Vec<u8>>,
    checkpoint: Vec<u8>,
    time: u64,
}

fn failed(error: io::Error) -> VaultError {
    VaultError::ReadOnly(error.to_string())
}

fn damaged(message: impl ToString) -> VaultError {
    VaultError::Journal(message.to_string())
}

fn read_all(disk: &dyn Disk, path: &str, bytes_max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    disk.open(path)?
        .take(bytes_max + 1)
        .read_to_end(&mut bytes)?;
    if bytes.len() as u64 > bytes_max {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "larger than possible",
        ));
    }
    Ok(bytes)
}

impl Ledger {
    /// Opens the ledger: takes the index where it stands, applies what the journal has beyond, and
    /// cuts off what a crash left torn at its end.
    ///
    /// # Errors
    /// [`VaultError::Index`] if the index does not fit the log: it is to be removed, and opening
    /// repeated. [`VaultError::Journal`] if the journal has lost something that was acknowledged.
    pub fn open(
        disk: Arc<dyn Disk>,
        index: Arc<Index>,
        key: SigningKey,
        applying: Applying<'_>,
    ) -> Result<Self, VaultError> {
        disk.make_directories("ledger/journal").map_err(failed)?;
        let applied = index.applied()?;
        let mut ledger = Self {
            disk,
            index,
            key,
            applied,
            frontier: Frontier::default(),
            edge: Vec::new(),
            bundle: Vec::new(),
            checkpoint: Vec::new(),
            time: 0,
        };
        ledger.restore_edge()?;
        ledger.replay(applying)?;
        if ledger.checkpoint.is_empty() {
            ledger.checkpoint = ledger.sign(&ledger.frontier)?;
        }
        Ok(ledger)
    }

    /// Number of entries.
    pub fn size(&self) -> u64 {
        self.applied.entries
    }

    /// The newest checkpoint, as a signed note.
    pub fn checkpoint(&self) -> &[u8] {
        &self.checkpoint
    }

    /// The vault time of the newest entry, seconds since 1970; zero if there is none.
    pub fn time(&self) -> u64 {
        self.time
    }

    /// The custodian's public key.
    pub fn key(&self) -> &SigningKey {
        &self.key
    }

    /// Appends a batch. On return its entries are durable and below the checkpoint.
    ///
    /// # Errors
    /// After any error the state on disk is unknown: the vault must accept nothing more until it
    /// was opened afresh.
    pub fn append(
        &mut self,
        entries: Vec<Entry>,
        applying: Applying<'_>,
    ) -> Result<u64, VaultError> {
        let first = self.size();
        let mut after = self.applied;
        if first - after.segment >= SEGMENT_ENTRIES {
            (after.segment, after.offset) = (first, 0);
        }
        let mut writer = Writer::default();
        let mut frontier = self.frontier.clone();
        let encoded: Vec<Vec<u8>> = entries.iter().map(Entry::encode).collect();
        for entry in &encoded {
            writer.entry(entry);
            frontier.push(outlast_log::leaf_hash(entry), |_, _, _| ());
        }
        let checkpoint = self.sign(&frontier)?;
        let (bytes, offsets) = writer.finish(&checkpoint);

        // One durable write. A crash in it leaves a torn batch, which opening cuts off: nothing of
        // it was acknowledged, and its checkpoint was never shown. A crash after it leaves a whole
        // batch, which opening applies.
        let path = segment_path(after.segment);
        self.disk
            .append(&path, after.offset, &bytes)
            .map_err(failed)?;

        // A second one says up to where the journal was acknowledged, so that damage to its end is
        // never taken for a torn batch. A crash before it leaves a batch that nobody was told of.
        self.publish(&checkpoint)?;

        let offsets: Vec<u64> = offsets.iter().map(|offset| offset + after.offset).collect();
        after.offset += bytes.len() as u64;
        after.entries += entries.len() as u64;
        self.take(&entries, encoded, &offsets, checkpoint, after, applying)?;
        Ok(first)
    }

    fn publish(&self, checkpoint: &[u8]) -> Result<(), VaultError> {
        self.disk.make_directories(LOG).map_err(failed)?;
        self.disk.replace(PUBLISHED, checkpoint).map_err(failed)
    }

    /// How many entries were acknowledged before the vault stopped.
    fn acknowledged(&self) -> Result<u64, VaultError> {
        match read_all(&*self.disk, PUBLISHED, CHECKPOINT_BYTES_MAX) {
            Ok(checkpoint) => Ok(self.verify(&checkpoint)?.size),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
            Err(error) => Err(failed(error)),
        }
    }

    /// Takes a batch that is durable in the journal into tiles, index and memory.
    fn take(
        &mut self,
        entries: &[Entry],
        encoded: Vec<Vec<u8>>,
        offsets: &[u64],
        checkpoint: Vec<u8>,
        after: Applied,
        applying: Applying<'_>,
    ) -> Result<(), VaultError> {
        let first = self.size();
        for (position, entry) in (first..).zip(encoded) {
            self.push(outlast_log::leaf_hash(&entry))?;
            self.bundle.push(entry);
            if self.bundle.len() as u64 == TILE_WIDTH {
                self.write_bundle(position / TILE_WIDTH)?;
            }
        }
        if let Some(last) = entries.last() {
            self.time = self.time.max(last.time);
        }
        // A crash before this leaves tiles that are written again, with the same bytes.
        self.index.apply(
            &AppliedBatch {
                first,
                entries,
                offsets,
                after,
                checkpoint: &checkpoint,
            },
            applying,
        )?;
        self.checkpoint = checkpoint;
        self.applied = after;
        Ok(())
    }

    fn push(&mut self, leaf: Hash) -> Result<(), VaultError> {
        let edge = &mut self.edge;
        let mut full = Vec::new();
        self.frontier.push(leaf, |level, index, hash| {
            if level % 8 != 0 {
                return;
            }
            let tile_level = usize::from(level / 8);
            if edge.len() <= tile_level {
                edge.push(Vec::new());
            }
            edge[tile_level].push(hash);
            if edge[tile_level].len() as u64 == TILE_WIDTH {
                full.push((
                    level / 8,
                    index / TILE_WIDTH,
                    std::mem::take(&mut edge[tile_level]),
                ));
            }
        });
        for (level, index, hashes) in full {
            let tile = Tile {
                level,
                index,
                width: TILE_WIDTH as u16,
            };
            let bytes: Vec<u8> = hashes.iter().flat_map(|hash| *hash.as_bytes()).collect();
            self.write_log_file(&tile.path(), &bytes)?;
        }
        Ok(())
    }

    fn write_bundle(&mut self, index: u64) -> Result<(), VaultError> {
        let mut bytes = Vec::new();
        for entry in self.bundle.drain(..) {
            encode_bundle_entry(&mut bytes, &entry).map_err(damaged)?;
        }
        let width = TILE_WIDTH as u16;
        self.write_log_file(&EntryBundle { index, width }.path(), &bytes)
    }

    fn write_log_file(&self, path: &str, bytes: &[u8]) -> Result<(), VaultError> {
        let path = format!("{LOG}/{path}");
        if let Some((folder, _)) = path.rsplit_once('/') {
            self.disk.make_directories(folder).map_err(failed)?;
        }
        self.disk.replace(&path, bytes).map_err(failed)
    }

    fn sign(&self, frontier: &Frontier) -> Result<Vec<u8>, VaultError> {
        let checkpoint = Checkpoint {
            origin: self.key.verifier().name().to_owned(),
            size: frontier.size(),
            root: frontier.root(),
        };
        Ok(checkpoint.sign(&self.key).map_err(damaged)?.encode())
    }

    /// The hash of a complete subtree.
    fn subtree(&self, level: u8, index: u64) -> Result<Hash, VaultError> {
        let tile = Tile::containing(level, index);
        let bytes = self
            .tile(&tile)?
            .ok_or_else(|| damaged(format!("{} is missing", tile.path())))?;
        subtree_in_tile(&bytes, level, index).map_err(damaged)
    }

    /// How many hashes there are on a level of tiles.
    fn tile_hashes(&self, level: u8) -> u64 {
        self.size() >> (8 * u32::from(level)).min(63)
    }

    /// The bytes of a tile, as far as there are hashes; none if there is no such tile.
    ///
    /// # Errors
    /// [`VaultError::Journal`] if a tile that must be there cannot be read.
    pub fn tile(&self, tile: &Tile) -> Result<Option<Vec<u8>>, VaultError> {
        let there = self
            .tile_hashes(tile.level)
            .saturating_sub(tile.index.saturating_mul(TILE_WIDTH));
        if there == 0 {
            return Ok(None);
        }
        if there < TILE_WIDTH {
            let hashes = self.edge.get(usize::from(tile.level));
            let hashes = hashes.into_iter().flatten();
            return Ok(Some(hashes.flat_map(|hash| *hash.as_bytes()).collect()));
        }
        let full = Tile {
            width: TILE_WIDTH as u16,
            ..*tile
        };
        let path = format!("{LOG}/{}", full.path());
        let bytes = read_all(&*self.disk, &path, TILE_WIDTH * 32).map_err(damaged)?;
        Ok(Some(bytes))
    }

    /// The bytes of a bundle of entries, as far as there are entries; none if there is no such.
    ///
    /// # Errors
    /// [`VaultError::Journal`] if a bundle that must be there cannot be read.
    pub fn bundle(&self, index: u64) -> Result<Option<Vec<u8>>, VaultError> {
        let there = self.size().saturating_sub(index.saturating_mul(TILE_WIDTH));
        if there == 0 {
            return Ok(None);
        }
        if there < TILE_WIDTH {
            let mut bytes = Vec::new();
            for entry in &self.bundle {
                encode_bundle_entry(&mut bytes, entry).map_err(damaged)?;
            }
            return Ok(Some(bytes));
        }
        let width = TILE_WIDTH as u16;
        let path = format!("{LOG}/{}", EntryBundle { index, width }.path());
        let bytes_max = TILE_WIDTH * (2 + outlast_custody::ENTRY_BYTES_MAX as u64);
        Ok(Some(
            read_all(&*self.disk, &path, bytes_max).map_err(damaged)?,
        ))
    }

    /// The proof that an entry is below the newest checkpoint.
    ///
    /// # Errors
    /// [`VaultError::Journal`] if the tiles cannot be read.
    pub fn prove(&self, index: u64) -> Result<(Vec<Hash>, Note), VaultError> {
        let hashes = prove_inclusion(index, self.size(), |level, at| self.subtree(level, at))?;
        let note = Note::parse(&self.checkpoint).map_err(damaged)?;
        Ok((hashes, note))
    }

    /// The partial tiles and the partial bundle at the size that the index has.
    fn restore_edge(&mut self) -> Result<(), VaultError> {
        let unfit = |error: VaultError| VaultError::Index(error.to_string());
        let size = self.size();
        if size == 0 {
            return Ok(());
        }
        let bytes = self.read_segment(self.applied.segment)?.unwrap_or_default();
        if (bytes.len() as u64) < self.applied.offset {
            // If the journal is the one that lacks something, its published checkpoint will tell.
            let message = "it has more than the journal".to_owned();
            return Err(VaultError::Index(message));
        }
        self.restore_bundle(&bytes).map_err(unfit)?;
        let leaves = self
            .bundle
            .iter()
            .map(|entry| outlast_log::leaf_hash(entry));
        self.edge = vec![leaves.collect()];
        let mut level = 1;
        while self.tile_hashes(level) > 0 {
            let count = self.tile_hashes(level);
            let first = count - count % TILE_WIDTH;
            // Each hash of this level is the root of a full tile of the level below.
            let hashes = (first..count).map(|index| self.subtree_of_full_tile(level, index));
            let hashes = hashes.collect::<Result<Vec<_>, _>>().map_err(unfit)?;
            self.edge.push(hashes);
            level += 1;
        }
        self.frontier =
            Frontier::read(size, |level, index| self.subtree(level, index)).map_err(unfit)?;
        let checkpoint = self.index.checkpoint()?.unwrap_or_default();
        let state = self.verify(&checkpoint).map_err(unfit)?;
        if (state.size, state.root) != (size, self.frontier.root()) {
            return Err(VaultError::Index(
                "it does not fit the log's tiles".to_owned(),
            ));
        }
        self.checkpoint = checkpoint;
        Ok(())
    }

    fn subtree_of_full_tile(&self, level: u8, index: u64) -> Result<Hash, VaultError> {
        let tile = Tile {
            level: level - 1,
            index,
            width: TILE_WIDTH as u16,
        };
        let bytes = self.tile(&tile)?.unwrap_or_default();
        let (hashes, _) = bytes.as_chunks::<32>();
        if hashes.len() as u64 != TILE_WIDTH {
            return Err(damaged(format!("{} is not whole", tile.path())));
        }
        Ok(outlast_log::tree_root(
            hashes.iter().map(|hash| Hash::from_bytes(*hash)),
        ))
    }

    /// The entries since the last full bundle, which may begin in an earlier segment only if the
    /// segment that is being written is younger than the bundle.
    fn restore_bundle(&mut self, segment: &[u8]) -> Result<(), VaultError> {
        let (size, number) = (self.size(), self.size() / TILE_WIDTH);
        let count = size - number * TILE_WIDTH;
        if count == 0 {
            return Ok(());
        }
        let offset = self
            .index
            .bundle_offset(number)?
            .ok_or_else(|| VaultError::Index("a bundle is missing".to_owned()))?;
        let mut older = Vec::new();
        if number * TILE_WIDTH < self.applied.segment {
            let first = self
                .segments()?
                .into_iter()
                .rfind(|first| *first < self.applied.segment);
            older = self
                .read_segment(first.unwrap_or_default())?
                .unwrap_or_default();
        }
        let (from, mut entries) = if older.is_empty() {
            (Reader::new(segment, offset), Vec::new())
        } else {
            let mut reader = Reader::new(&older, offset);
            let mut entries = Vec::new();
            while let Some(entry) = reader.next_entry() {
                entries.push(entry.to_vec());
            }
            (Reader::new(segment, 0), entries)
        };
        let mut reader = from;
        while (entries.len() as u64) < count {
            let entry = reader.next_entry();
            entries.push(
                entry
                    .ok_or_else(|| damaged("an entry is missing"))?
                    .to_vec(),
            );
        }
        if let Some(entry) = entries.last().map(|entry| Entry::decode(entry)) {
            self.time = entry.map_err(damaged)?.time;
        }
        self.bundle = entries;
        Ok(())
    }

    fn segments(&self) -> Result<Vec<u64>, VaultError> {
        let mut segments = Vec::new();
        let mut visit = |listed: crate::disk::Listed<'_>| {
            if let Ok(first) = u64::from_str_radix(listed.name, 16) {
                segments.push(first);
            }
        };
        self.disk
            .list("ledger/journal", &mut visit)
            .map_err(failed)?;
        segments.sort_unstable();
        Ok(segments)
    }

    fn read_segment(&self, first: u64) -> Result<Option<Vec<u8>>, VaultError> {
        match read_all(&*self.disk, &segment_path(first), SEGMENT_BYTES_MAX) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed(error)),
        }
    }

    fn verify(&self, checkpoint: &[u8]) -> Result<Checkpoint, VaultError> {
        let opened = VerifiedCheckpoint::open(checkpoint, &self.key.verifier(), &[]);
        Ok(opened.map_err(damaged)?.checkpoint().clone())
    }

    /// Applies every acknowledged batch that the index does not have yet, and cuts off the one that may
    /// follow.
    fn replay(&mut self, applying: Applying<'_>) -> Result<(), VaultError> {
        // Names of segments that are seen must be durable before anything is appended to them.
        self.disk.sync_directory("ledger/journal").map_err(failed)?;
        let segments = self.segments()?;
        let acknowledged = self.acknowledged()?;
        let lost = || damaged("entries are missing that were acknowledged");
        let mut segment = self.applied.segment;
        while let Some(bytes) = self.read_segment(segment)? {
            let start = if segment == self.applied.segment {
                self.applied.offset
            } else {
                0
            };
            let mut end = start;
            let mut reader = Reader::new(&bytes, start);
            while let Some(batch) = reader.next_batch()? {
                let entries = self.size() + batch.entries.len() as u64;
                if entries > acknowledged {
                    // Its sync or the publishing failed, so nobody was told of it, and what is seen
                    // of it may be in memory only. Any other batch after it was told of.
                    if reader.next_batch()?.is_some() {
                        return Err(damaged("log/checkpoint is older than the journal"));
                    }
                    break;
                }
                end = batch.end;
                let state = self.verify(&batch.checkpoint)?;
                let after = Applied {
                    entries,
                    segment,
                    offset: end,
                };
                let (offsets, checkpoint) = (batch.offsets, batch.checkpoint);
                self.take(
                    &batch.entries,
                    batch.encoded,
                    &offsets,
                    checkpoint,
                    after,
                    applying,
                )?;
                if (state.size, state.root) != (entries, self.frontier.root()) {
                    return Err(damaged("the entries do not lead to their checkpoint"));
                }
            }
            let is_last = segments.last().is_none_or(|last| *last <= segment);
            if end < bytes.len() as u64 {
                if !is_last {
                    return Err(damaged("a segment is damaged that others follow"));
                }
                if self.size() < acknowledged {
                    return Err(lost());
                }
                // A torn or unacknowledged batch. The rest goes into a new file, since after a failed
                // sync the system may count pages of the old one as written that are not.
                let kept = usize::try_from(end).unwrap_or(usize::MAX);
                let kept = bytes.get(..kept).unwrap_or_default();
                self.disk
                    .replace(&segment_path(segment), kept)
                    .map_err(failed)?;
            }
            if is_last || segment == self.size() {
                break;
            }
            segment = self.size();
        }
        if segments.last().is_some_and(|last| *last > self.size()) {
            return Err(damaged("a segment is missing"));
        }
        if self.size() < acknowledged {
            return Err(lost());
        }
        if acknowledged > 0 {
            // It may be seen without being durable, if publishing it failed; from now on it is shown. Its bytes
            // were durable before they had a name. Nothing is written, so that a full disk does not
            // keep the vault from being read.
            self.disk.sync_directory(LOG).map_err(failed)?;
        }
        Ok(())
    }
}
