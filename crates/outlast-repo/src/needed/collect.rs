//! Collecting what a snapshot needs while it is made.

use std::collections::HashSet;

use outlast_format::{BlobHandle, PackedBlob};
use parking_lot::Mutex;

use super::NeededObjects;
use super::places::{Choice, Places};
use crate::trust::PackTrust;
use crate::{BlobLocation, PackNumber, RepoError, Repository};

/// The packs that a snapshot needs which is being made. Given to a saver, it is told where each blob
/// went; memory grows with packs, and with the blobs that are on their way into one.
#[derive(Debug, Default)]
pub struct NeededPacks(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    places: Places,
    /// Blobs that are needed and lie in no pack yet, as far as is known.
    pending: HashSet<BlobHandle>,
}

/// Where the blobs of one entry lie, while it is not yet certain that all of them are stored.
#[derive(Debug, Default)]
pub(crate) struct EntryPacks {
    packs: Vec<PackNumber>,
    choices: Vec<Choice>,
}

impl EntryPacks {
    /// A blob lies at these places, one of which at least is known to have it.
    pub(crate) fn add(&mut self, trust: &PackTrust, claims: &[BlobLocation]) {
        let choice = Choice::of(trust, claims);
        match choice.only() {
            // Blobs that follow each other mostly lie in the same pack.
            Some(pack) if self.packs.last() == Some(&pack) => {}
            Some(pack) => self.packs.push(pack),
            None => self.choices.push(choice),
        }
    }
}

impl NeededPacks {
    /// A blob is needed, wherever it is: in a pack already, or on its way into one.
    pub(crate) fn add_blob(&self, repository: &Repository, handle: BlobHandle) {
        // Taken first: whoever stores the blob meanwhile puts it into the index and then looks here.
        let mut state = self.0.lock();
        let choice = choice_of(repository, handle);
        if choice.is_sure() {
            state.places.add(choice);
        } else {
            state.pending.insert(handle);
        }
    }

    /// All blobs of an entry are needed.
    pub(crate) fn add_entry(&self, entry: EntryPacks) {
        let mut state = self.0.lock();
        for pack in entry.packs {
            state.places.add_pack(pack);
        }
        for choice in entry.choices {
            state.places.add(choice);
        }
    }

    /// A pack is durable and in the index.
    pub(crate) fn pack_stored(&self, pack: PackNumber, blobs: &[PackedBlob]) {
        let mut state = self.0.lock();
        for blob in blobs {
            if state.pending.remove(&blob.handle) {
                state.places.add_pack(pack);
            }
        }
    }

    /// All that is needed but the snapshot itself, once all is stored. [`RepoError::BlobMissing`] if
    /// something has not arrived: a snapshot must not be made then.
    pub(crate) fn finish(&self, repository: &Repository) -> Result<NeededObjects, RepoError> {
        let State {
            mut places,
            pending,
        } = std::mem::take(&mut *self.0.lock());
        for handle in pending {
            // It may have been there all along, and somebody else was still looking at its pack.
            let choice = choice_of(repository, handle);
            if !choice.is_sure() {
                return Err(RepoError::BlobMissing(handle));
            }
            places.add(choice);
        }
        let packs = places.decide(&repository.index(), repository.trust());
        NeededObjects::of_packs(repository, &packs, &[])
    }
}

/// The packs that a blob is known or said to be in.
fn choice_of(repository: &Repository, handle: BlobHandle) -> Choice {
    let claims: Vec<BlobLocation> = repository.index().find(handle).collect();
    Choice::of(repository.trust(), &claims)
}
