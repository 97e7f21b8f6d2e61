//! Telling how far a run has come.

/// What a run is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stage {
    /// Looking through snapshots for what they need; counts snapshots.
    FindUsed,
    /// Reading the copies that will remain of blobs that are stored more than once; counts blobs.
    VerifyCopies,
    /// Storing what is still needed of packs anew; counts packs.
    Repack,
    /// Writing a new index; counts index files looked at.
    RewriteIndex,
    /// Removing objects; counts objects.
    Remove,
    /// Copying blobs to another repository; counts blobs.
    Copy,
    /// Rewriting snapshots; counts snapshots.
    Rewrite,
    /// Looking through the trees of snapshots; counts snapshots.
    CheckTrees,
    /// Reading packs from end to end; counts packs.
    ReadPacks,
    /// Finding out which files are affected by damage; counts snapshots.
    FindAffected,
    /// Reading the headers of packs; counts packs.
    ReadHeaders,
    /// Counting; counts snapshots.
    Count,
}

/// Is told how far a run has come. Called from several threads.
pub trait Progress: Sync {
    /// A stage of so many steps begins.
    fn begin(&self, stage: Stage, steps: u64) {
        let _ = (stage, steps);
    }
    /// So many more steps of the stage are done.
    fn advance(&self, stage: Stage, steps: u64) {
        let _ = (stage, steps);
    }
}

/// Tells nobody.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoProgress;

impl Progress for NoProgress {}
