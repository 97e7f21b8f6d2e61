//! The vault's log: its checkpoint, and whether it continues what was seen before.

use outlast_log::{
    Checkpoint, Frontier, Hash, TILE_WIDTH, Tile, VerifiedCheckpoint, prove_consistency,
    subtree_in_tile, verify_consistency,
};

use super::{NOTE_BYTES_MAX, VaultClient, WireError};

/// Bytes of a full tile.
const TILE_BYTES_MAX: u64 = TILE_WIDTH * 32;

impl VaultClient {
    /// The newest checkpoint of the vault's log, verified, and proven to continue all those that
    /// were seen before.
    ///
    /// # Errors
    /// [`WireError::LogForked`] if it is proven not to; [`WireError::Unproven`] if the vault proves
    /// neither.
    pub fn checkpoint(&self, before: &[&Checkpoint]) -> Result<VerifiedCheckpoint, WireError> {
        let note = self.send("v1/log/checkpoint", None, NOTE_BYTES_MAX)?;
        let verified = VerifiedCheckpoint::open(&note, self.identity(), &[])
            .map_err(|error| WireError::Unproven(error.to_string()))?;
        for before in before {
            self.check_continues(before, verified.checkpoint(), &note)?;
        }
        Ok(verified)
    }

    fn check_continues(
        &self,
        old: &Checkpoint,
        new: &Checkpoint,
        note: &[u8],
    ) -> Result<(), WireError> {
        let forked = || WireError::LogForked {
            old_size: old.size,
            old_root: hex::encode(old.root.as_bytes()),
            new_size: new.size,
            evidence: note.to_vec(),
        };
        if new.size < old.size || new.size == old.size && new.root != old.root {
            return Err(forked());
        }
        let proof = prove_consistency(old.size, new.size, |level, index| {
            self.subtree(new.size, level, index)
        })?;
        let continues =
            |root: &Hash| verify_consistency(old.size, root, new.size, &new.root, &proof).is_ok();
        if continues(&old.root) {
            return Ok(());
        }
        // Tiles are not signed. The vault is convicted only if what it shows does lead to the
        // checkpoint that it signed, over another beginning than the one that was seen.
        let shown = Frontier::read(old.size, |level, index| {
            self.subtree(new.size, level, index)
        })?
        .root();
        if continues(&shown) {
            return Err(forked());
        }
        let message = "its log's tiles do not lead to the checkpoint that it signed";
        Err(WireError::Unproven(message.to_owned()))
    }

    /// The hash of a complete subtree out of the vault's tiles. It is not verified by itself: the
    /// proof that is made of such hashes is.
    fn subtree(&self, size: u64, level: u8, index: u64) -> Result<Hash, WireError> {
        let full = Tile::containing(level, index);
        let hashes = size >> (8 * u32::from(full.level)).min(63);
        let there = hashes.saturating_sub(full.index.saturating_mul(TILE_WIDTH));
        let tile = Tile {
            width: u16::try_from(there.min(TILE_WIDTH)).unwrap_or_default(),
            ..full
        };
        let path = format!("v1/log/{}", tile.path());
        let bytes = self.send(&path, None, TILE_BYTES_MAX)?;
        subtree_in_tile(&bytes, level, index)
            .map_err(|error| WireError::Malformed(error.to_string()))
    }
}
