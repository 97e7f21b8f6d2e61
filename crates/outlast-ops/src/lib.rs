//! The verbs, composed from the engine: what a program calls, and what it gets to show.
//!
//! [`Session`] is an opened repository with its store and lock; [`run_backup`] and the other
//! functions are verbs. Nothing here prints: notices and progress go to observers.
//!
//! Invariants: a verb that only reads or adds never gets the store as one that deletes; secrets are
//! never part of a message.

mod backup;
mod buckets;
mod config;
mod custodian;
mod data_sets;
mod evidence;
mod export;
mod html;
mod keepers;
pub mod kit;
mod mount;
mod protect;
mod prove;
mod receipts;
mod retained;
mod safety;
mod select;
mod session;
mod status;
mod sync;

pub use backup::{BackupRequest, BackupRun, Target as BackupTarget, run_backup, target_paths};
pub use buckets::{BucketRenewal, RenewError, Retained, renewal_needed_until};
pub use config::{CONFIG_BYTES_MAX, Configuration, ConfigurationError, Places, write_durably};
pub use custodian::{
    AddedCustodian, BUCKET_RETENTION_DAYS, BucketCustodian, BucketKeys, BucketLookup, BucketUse,
    Custodian, CustodianError, CustodianKind, Custodians, FolderCustodian, Meeting, Place,
    RemoteFolder, admission_facts, find_place, is_custodian_location, meet, parse_horizon,
    place_of_custodian,
};
pub use data_sets::{DataSet, DataSets, RememberedSnapshot, Shown};
pub use evidence::{EvidenceFailure, Showing, read_back};
pub use export::{ExportError, ExportFailure, ExportObserver, ExportOutcome, export};
pub use keepers::{
    Kept, NotKept, OWN, Proven, keepers, open_custodian, prove_all, prove_one, vouch,
};
pub use mount::{LoadSnapshots, MountOptions, mount_repository};
pub use protect::{
    Judgement, Prepared, ProtectError, ProtectRequest, Protected, make_password, prepare_protect,
    run_protect,
};
pub use prove::{
    Attempt, AttemptOutcome, ProveError, ProveRequest, Report, RowOfLoss, Signed, html,
    open_report, prove, prover_identity,
};
pub use receipts::{Held, KeptReceipt, held_by, kept_receipts, verify_receipt};
pub use retained::{RenewProgress, Renewals};
pub use safety::{CustodianRow, Safety, SetStatus};
pub use select::{ChosenSnapshot, choose_snapshot, choose_snapshots};
pub use session::{
    CacheChoice, Session, SessionOptions, default_cache_folder, init_session, stored_snapshots,
};
pub use status::{Status, Verdict, moment, now, read_status, restore_command, shell_quote};
pub use sync::{
    SyncExtras, SyncPlace, SyncProgress, SyncRun, SyncStep, Synced, clear_spool, complete,
    sync_all, sync_places,
};
