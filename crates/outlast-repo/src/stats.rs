//! Counting what snapshots hold and take, in restic's modes.

use std::collections::HashSet;
use std::path::Path;
use std::str::FromStr;

use outlast_format::{BlobHandle, Node, SEAL_BYTES};
use outlast_object::hash;
use serde::{Serialize, Serializer};

use crate::used_blobs::{MarkError, Root, UsedBlobs};
use crate::{
    Cancel, NoProgress, Progress, RepoError, Repository, Stage, StoredSnapshot, TreeWalk, WalkStep,
};

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StatsMode {
    /// What restoring all snapshots would write.
    #[default]
    RestoreSize,
    /// Files with different content.
    FilesByContents,
    /// Blobs of each path.
    BlobsPerFile,
    /// What the snapshots' blobs take in the repository.
    RawData,
}

impl StatsMode {
    /// restic's word.
    pub fn as_str(self) -> &'static str {
        match self {
            StatsMode::RestoreSize => "restore-size",
            StatsMode::FilesByContents => "files-by-contents",
            StatsMode::BlobsPerFile => "blobs-per-file",
            StatsMode::RawData => "raw-data",
        }
    }
}

/// The text is no mode.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "unknown counting mode: {0}; there are restore-size, files-by-contents, blobs-per-file and raw-data"
)]
pub struct ParseStatsModeError(pub String);

impl FromStr for StatsMode {
    type Err = ParseStatsModeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        use StatsMode::{BlobsPerFile, FilesByContents, RawData, RestoreSize};
        [RestoreSize, FilesByContents, BlobsPerFile, RawData]
            .into_iter()
            .find(|mode| mode.as_str() == text)
            .ok_or_else(|| ParseStatsModeError(text.to_owned()))
    }
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

fn is_nothing(number: &f64) -> bool {
    *number == 0.0
}

/// Go writes whole numbers without a point.
fn as_go_writes<S: Serializer>(number: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    if number.fract() == 0.0 && number.abs() < 1e15 {
        serializer.serialize_i64(*number as i64)
    } else {
        serializer.serialize_f64(*number)
    }
}

/// The figures; their JSON is restic's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Stats {
    /// Bytes, of what the mode counts.
    pub total_size: u64,
    /// Bytes that blobs would take without compression.
    #[serde(skip_serializing_if = "is_zero")]
    pub total_uncompressed_size: u64,
    /// Uncompressed bytes by compressed bytes, of blobs that are compressed.
    #[serde(skip_serializing_if = "is_nothing", serialize_with = "as_go_writes")]
    pub compression_ratio: f64,
    /// Percentage of the bytes that are compressed.
    #[serde(skip_serializing_if = "is_nothing", serialize_with = "as_go_writes")]
    pub compression_progress: f64,
    /// Percentage of the bytes that compression saves.
    #[serde(skip_serializing_if = "is_nothing", serialize_with = "as_go_writes")]
    pub compression_space_saving: f64,
    /// Files, or all entries where restoring is counted.
    #[serde(skip_serializing_if = "is_zero")]
    pub total_file_count: u64,
    /// Blobs.
    #[serde(skip_serializing_if = "is_zero")]
    pub total_blob_count: u64,
    /// Snapshots looked at.
    pub snapshots_count: u64,
}

/// Counts. Damage of a snapshot is an error, since figures without it would be wrong.
pub fn stats(
    repository: &Repository,
    snapshots: &[StoredSnapshot],
    mode: StatsMode,
    progress: &dyn Progress,
    cancel: &Cancel,
) -> Result<Stats, RepoError> {
    progress.begin(Stage::Count, snapshots.len() as u64);
    let mut counting = Counting {
        repository,
        mode,
        stats: Stats::default(),
        contents: HashSet::new(),
        paths: HashSet::new(),
        blobs_of_paths: HashSet::new(),
    };
    if mode == StatsMode::RawData {
        counting.count_raw(snapshots, progress, cancel)?;
    } else {
        for stored in snapshots {
            counting.count_snapshot(stored, cancel)?;
            progress.advance(Stage::Count, 1);
        }
    }
    counting.stats.snapshots_count = snapshots.len() as u64;
    Ok(counting.stats)
}

/// Half of a hash: enough to tell things apart, at half the memory.
type Fingerprint = [u8; 16];

fn fingerprint(bytes: &[u8]) -> Fingerprint {
    let mut half = [0; 16];
    half.copy_from_slice(&hash(bytes).as_bytes()[..16]);
    half
}

struct Counting<'a> {
    repository: &'a Repository,
    mode: StatsMode,
    stats: Stats,
    /// Contents that were met.
    contents: HashSet<Fingerprint>,
    /// Paths that were met.
    paths: HashSet<Fingerprint>,
    /// Blobs that were met, together with a path each.
    blobs_of_paths: HashSet<Fingerprint>,
}

impl Counting<'_> {
    fn count_snapshot(
        &mut self,
        stored: &StoredSnapshot,
        cancel: &Cancel,
    ) -> Result<(), RepoError> {
        let mut walk = TreeWalk::new(
            self.repository,
            Path::new("/"),
            stored.snapshot.tree,
            cancel,
        );
        let mut links = HashSet::new();
        while let Some(step) = walk.step()? {
            match step {
                WalkStep::Entry(entry) => match self.mode {
                    StatsMode::RestoreSize => self.count_restored(&entry.node, &mut links),
                    _ => self.count_content(&entry.path, &entry.node)?,
                },
                WalkStep::Leave(_) => {}
                WalkStep::Problem { path, problem } => {
                    return Err(RepoError::Refused(format!(
                        "snapshot {}, {}: {problem}",
                        stored.id.short(),
                        path.display()
                    )));
                }
            }
        }
        Ok(())
    }

    fn count_restored(&mut self, node: &Node, links: &mut HashSet<(u64, u64)>) {
        self.stats.total_file_count += 1;
        let alone = node.links == 1 || node.is_directory() || node.inode == 0;
        if alone || links.insert((node.inode, node.device_id)) {
            self.stats.total_size += node.size;
        }
    }

    fn count_content(&mut self, path: &Path, node: &Node) -> Result<(), RepoError> {
        let content = node.content.as_deref().unwrap_or_default();
        let bytes: Vec<u8> = content.iter().flat_map(|id| *id.as_bytes()).collect();
        if !self.contents.insert(fingerprint(&bytes)) {
            return Ok(());
        }
        if self.mode == StatsMode::FilesByContents {
            self.stats.total_size += node.size;
            self.stats.total_file_count += 1;
            return Ok(());
        }
        let path = path.as_os_str().as_encoded_bytes();
        if !content.is_empty() && self.paths.insert(fingerprint(path)) {
            self.stats.total_file_count += 1;
        }
        for id in content {
            let place = [id.as_bytes(), path].concat();
            if self.blobs_of_paths.insert(fingerprint(&place)) {
                let handle = BlobHandle::data(*id);
                let length = self.repository.index().plaintext_length(handle);
                self.stats.total_size += length.ok_or(RepoError::BlobMissing(handle))?;
                self.stats.total_blob_count += 1;
            }
        }
        Ok(())
    }

    fn count_raw(
        &mut self,
        snapshots: &[StoredSnapshot],
        progress: &dyn Progress,
        cancel: &Cancel,
    ) -> Result<(), RepoError> {
        let used = UsedBlobs::new(self.repository);
        for stored in snapshots {
            let root = Root {
                snapshot: stored.id,
                tree: stored.snapshot.tree,
            };
            let missing = used
                .mark_roots(self.repository, &[root], &NoProgress, cancel)
                .map_err(|error| match error {
                    MarkError::Tree(tree) => tree.reason,
                    MarkError::Stopped(error) => error,
                })?;
            if let Some((handle, _)) = missing.named.first() {
                return Err(RepoError::BlobMissing(*handle));
            }
            progress.advance(Stage::Count, 1);
        }
        self.sum_up_raw(&used);
        Ok(())
    }

    fn sum_up_raw(&mut self, used: &UsedBlobs) {
        let (mut packed, mut unpacked) = (0_u64, 0_u64);
        let stats = &mut self.stats;
        let index = self.repository.index();
        for (_, location) in index
            .iter()
            .enumerate()
            .filter(|(at, _)| used.bits.get(*at))
        {
            let blob = location.blob;
            let plain = u64::from(blob.plaintext_length()) + SEAL_BYTES as u64;
            stats.total_size += u64::from(blob.length);
            stats.total_blob_count += 1;
            if self.repository.config().version >= 2 {
                stats.total_uncompressed_size += plain;
                if blob.uncompressed_length != 0 {
                    packed += u64::from(blob.length);
                    unpacked += plain;
                }
            }
        }
        if packed > 0 {
            stats.compression_ratio = unpacked as f64 / packed as f64;
        }
        if stats.total_uncompressed_size > 0 {
            let all = stats.total_uncompressed_size as f64;
            stats.compression_progress = unpacked as f64 / all * 100.0;
            stats.compression_space_saving = (1.0 - stats.total_size as f64 / all) * 100.0;
        }
    }
}
