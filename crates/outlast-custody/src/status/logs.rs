//! What is known of the logs of custodians, and which of them have two pasts.

use std::collections::HashMap;

use outlast_log::{Hash, VerifiedCheckpoint, VerifierKey, verify_consistency};

use crate::receipt::VerifiedReceipt;

/// Two statements of one log do not convict it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoFork {
    /// They are of different logs.
    #[error("the checkpoints are of different logs")]
    OtherLog,
    /// They can both be true.
    #[error("the checkpoints are not shown to contradict each other")]
    Consistent,
}

/// A log as its own signatures show it.
#[derive(Debug, Clone, Default)]
struct KnownLog {
    /// The root at each size that was seen.
    roots: HashMap<u64, Hash>,
    /// The entry at each index that was proven.
    leaves: HashMap<u64, Hash>,
    is_forked: bool,
}

/// The logs of all custodians, by their identity.
#[derive(Debug, Clone, Default)]
pub(super) struct Logs(HashMap<VerifierKey, KnownLog>);

impl Logs {
    /// Takes in what a receipt shows of its log.
    pub(super) fn add_receipt(&mut self, receipt: &VerifiedReceipt) {
        let state = receipt.proof().checkpoint().checkpoint();
        let (size, root) = (state.size, state.root);
        let (index, leaf) = (receipt.proof().index(), receipt.leaf());
        let log = self.log(receipt.custodian());
        log.see_root(size, root);
        // Two entries at one place are as good a proof as two roots of one size.
        log.is_forked |= *log.leaves.entry(index).or_insert(leaf) != leaf;
    }

    /// Takes in a checkpoint.
    pub(super) fn add_checkpoint(&mut self, identity: &VerifierKey, seen: &VerifiedCheckpoint) {
        let state = seen.checkpoint();
        self.log(identity).see_root(state.size, state.root);
    }

    /// Trusts a log no more, for reasons that the caller has.
    pub(super) fn distrust(&mut self, identity: &VerifierKey) {
        self.log(identity).is_forked = true;
    }

    pub(super) fn is_forked(&self, identity: &VerifierKey) -> bool {
        self.0.get(identity).is_some_and(|log| log.is_forked)
    }

    fn log(&mut self, identity: &VerifierKey) -> &mut KnownLog {
        self.0.entry(identity.clone()).or_default()
    }
}

impl KnownLog {
    fn see_root(&mut self, size: u64, root: Hash) {
        self.is_forked |= *self.roots.entry(size).or_insert(root) != root;
    }
}

/// Checks that the checkpoint of the larger log is over another beginning than the smaller one: that
/// the first entries of the larger have the root `shown`, as `proof` proves, which is not the root that
/// the smaller one signed. For logs of one size neither is needed.
pub(super) fn check_fork(
    smaller: &VerifiedCheckpoint,
    larger: &VerifiedCheckpoint,
    shown: &Hash,
    proof: &[Hash],
) -> Result<(), NoFork> {
    let (old, new) = (smaller.checkpoint(), larger.checkpoint());
    if old.origin != new.origin {
        return Err(NoFork::OtherLog);
    }
    if old.size == new.size {
        return if old.root == new.root {
            Err(NoFork::Consistent)
        } else {
            Ok(())
        };
    }
    let proven = verify_consistency(old.size, shown, new.size, &new.root, proof);
    if proven.is_err() || *shown == old.root {
        return Err(NoFork::Consistent);
    }
    Ok(())
}
