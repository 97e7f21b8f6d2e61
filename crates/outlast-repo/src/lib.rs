//! The engine: open, back up, restore, check, forget, prune and copy restic repositories.
//!
//! [`Repository`] is an opened repository: a store, a key and an index. The verbs are functions over
//! it. Whatever runs long takes a [`Cancel`] and reports to an observer.
//!
//! Invariants: the reader trusts nothing, an index entry is a hint and every blob is checked against
//! its id; the writer never removes anything, code that removes takes a `Deletes` explicitly; no
//! snapshot is written before all that it needs is durable.

mod admission;
mod backup;
mod bits;
mod byte_budget;
mod cancel;
mod cat;
mod check;
mod copy;
mod diff;
mod dump;
mod environment;
mod error;
mod find;
mod forget;
mod guard;
mod index;
mod index_entries;
mod index_load;
mod index_writer;
mod key_change;
mod keys;
mod list;
mod local_trees;
mod locks;
mod needed;
mod notice;
mod own_notes;
mod pack_blobs;
mod pack_read;
mod packer;
mod policy;
mod presence;
mod progress;
mod prune;
mod recover;
mod removal;
mod repair;
mod repository;
mod restore;
mod rewrite;
mod salvage;
mod saver;
mod snapshots;
mod stats;
mod subfolder;
mod tag;
mod threads;
mod trust;
mod unindexed;
mod unlock;
mod upgrade;
mod used_blobs;
mod walk_tree;
mod zone;

pub use admission::{AdmissionFacts, Admitted, TrustHorizon};
pub use backup::{
    BackupObserver, BackupOptions, BackupOutcome, ChangeDetection, FileFacts, ItemChange,
    ItemStatistics, NoObserver, ParentSnapshot, ScanTotals, backup, scan,
};
pub use cancel::Cancel;
pub use cat::{
    cat_blob, cat_config, cat_index, cat_key, cat_lock, cat_master_key, cat_pack, cat_snapshot,
};
pub use check::{
    AffectedPath, AffectedSnapshot, CheckObserver, CheckOptions, CheckReport, CheckTotals,
    FINDINGS_MAX, Finding, Loss, PackProblem, PackProblems, ParseSubsetError, ReadData, Severity,
    check,
};
pub use copy::{CopyObserver, CopyOutcome, copy, cuts_alike};
pub use diff::{Change, DiffCounts, DiffEvent, DiffStatistics, Modifier, diff_trees};
pub use dump::{ArchiveFormat, DumpTarget, dump_directory, dump_file, find_dump_target};
pub use environment::{Clock, Environment, SystemClock};
pub use error::RepoError;
pub use find::{
    FindEvent, FoundObject, NameQuery, ObjectQuery, find_names, find_objects, packs_of,
    parse_find_time,
};
pub use forget::{ForgetOutcome, forget};
pub use guard::{
    Admission, BACK_DATED_MIN, BURST_GAP_SECONDS, BURST_NEW_MAX, BURST_SNAPSHOTS_MIN, Dated,
    Evidence, GuardContext, GuardFinding, GuardNotice, GuardedRetention, LATE_SECONDS,
    guard_forget,
};
pub use index::{BlobIndex, BlobLocation, PackNumber};
pub use key_change::{add_verified_key, change_password, find_key, remove_key};
pub use keys::{KeyInfo, NewKey, add_key, calibrate_scrypt, list_keys};
pub use list::{list_blobs, list_objects, list_packs_of};
pub use locks::{ExclusiveLock, LockGuard, LockInfo, LockMode, STALE_LOCK_SECONDS, list_locks};
pub use needed::{
    NeededCounts, NeededObjects, NeededPacks, needed_objects, needed_objects_by_trees_of,
};
pub use notice::{Notice, Notices, Silent};
pub use pack_read::read_pack_header;
pub use policy::{
    Counters, KeepCount, KeepDuration, Kept, ParseKeepCountError, ParseKeepDurationError, Policy,
    PolicyError, Retention, apply_policy,
};
pub use progress::{NoProgress, Progress, Stage};
pub use prune::{
    MaxUnused, ParseMaxUnusedError, PruneBlobs, PruneBytes, PruneObserver, PruneOptions,
    PruneOutcome, PrunePacks, PrunePreview, PruneRefusal, PruneStatistics, preview_prune, prune,
};
pub use recover::{RecoverOutcome, recover};
pub use removal::{NotRemoved, Removal, ensure_removes};
pub use repair::{
    RepairIndexOptions, RepairIndexOutcome, RepairOriginals, RepairPacksObserver,
    RepairPacksOutcome, RepairSnapshotsObserver, RepairSnapshotsOutcome, Trimmed,
    remove_unreadable_snapshots, repair_index, repair_packs, repair_snapshots,
};
pub use repository::{InitOptions, OpenOptions, Repository};
pub use restore::{
    LostBlob, NoRestoreObserver, Overwrite, ParseOverwriteError, RestoreAction, RestoreObserver,
    RestoreOptions, RestoreOutcome, RestoreProblem, RestoreSelection, restore,
};
pub use rewrite::{
    Originals, RewriteObserver, RewriteOptions, RewriteOutcome, TreeFilter, rewrite,
};
pub use saver::{SaveStatistics, Saved, Saver, SaverOptions, with_saver};
pub use snapshots::{
    FUTURE_TOLERANCE_SECONDS, GroupBy, GroupKey, ParentQuery, ParseGroupByError, Selected,
    SelectionError, SelectionWarning, SnapshotFilter, SnapshotGroup, SnapshotRequest,
    StoredSnapshot, TagList, clean_path, find_snapshot, group_snapshots, newest_of_each,
    resolve_admitted, resolve_snapshot, select_latest, select_latest_admitted, select_parent,
    sort_newest_first, sort_oldest_first,
};
pub use stats::{ParseStatsModeError, Stats, StatsMode, stats};
pub use subfolder::{find_entry, resolve_subfolder, split_snapshot_path};
pub use tag::{TagChange, TagOutcome, change_tags};
pub use trust::PackTrust;
pub use unlock::{Unlock, UnlockOutcome, unlock};
pub use upgrade::{OLD_CONFIG_FILE, upgrade};
pub use walk_tree::{
    TREE_BYTES_HELD_MAX, TREE_DEPTH_MAX, TreeWalk, WalkEntry, WalkProblem, WalkStep, is_valid_name,
};
pub use zone::{UnknownZone, Zone};
