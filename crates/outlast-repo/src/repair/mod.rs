//! Repairing repositories so that they lose nothing but what was damaged.
//!
//! What is new is written and durable before anything old is removed, so that a crash at any moment
//! leaves either both or what there was before. What removes things takes a [`crate::Removal`].

mod index;
mod intact;
mod packs;
mod rewrite_index;
mod snapshots;
mod trees;

pub use index::{RepairIndexOptions, RepairIndexOutcome, repair_index};
pub use packs::{RepairPacksObserver, RepairPacksOutcome, repair_packs};
pub use snapshots::{
    RepairOriginals, RepairSnapshotsObserver, RepairSnapshotsOutcome, remove_unreadable_snapshots,
    repair_snapshots,
};
pub use trees::Trimmed;
