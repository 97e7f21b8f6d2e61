//! From the places of blobs to packs that together have them all, none of them without need.

use std::collections::{HashMap, HashSet};

use crate::trust::PackTrust;
use crate::{BlobIndex, BlobLocation, PackNumber};

/// Choices between packs that are put off at most; more are made at once, which may list a pack more
/// than is needed, but never one too few.
const CHOICES_MAX: usize = 100_000;

/// Packs any of which will do for some blob.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Choice {
    /// The blob is known to be there.
    sure: Vec<PackNumber>,
    /// An index says that it is there, and nobody has looked yet.
    doubtful: Vec<PackNumber>,
}

impl Choice {
    /// The packs of these places. Where it is known of none that the blob is there, all claims are
    /// believed as far as nobody knows better.
    pub(super) fn of(trust: &PackTrust, claims: &[BlobLocation]) -> Self {
        let packs = |wanted: Option<bool>| -> Vec<PackNumber> {
            let claims = claims.iter().filter(|claim| trust.known(claim) == wanted);
            let mut packs: Vec<PackNumber> = claims.map(|claim| claim.pack).collect();
            packs.sort_unstable();
            packs.dedup();
            packs
        };
        Self {
            sure: packs(Some(true)),
            doubtful: packs(None),
        }
    }

    /// Whether the blob is known to be anywhere.
    pub(super) fn is_sure(&self) -> bool {
        !self.sure.is_empty()
    }

    /// The only pack there is.
    pub(super) fn only(&self) -> Option<PackNumber> {
        match (self.sure.as_slice(), self.doubtful.as_slice()) {
            ([pack], []) | ([], [pack]) => Some(*pack),
            _ => None,
        }
    }
}

/// Packs that are needed, and choices between packs.
#[derive(Debug, Default)]
pub(super) struct Places {
    packs: HashSet<PackNumber>,
    choices: HashSet<Choice>,
}

impl Places {
    /// This pack is needed.
    pub(super) fn add_pack(&mut self, pack: PackNumber) {
        self.packs.insert(pack);
    }

    /// One of these packs is needed; all, where none is sure.
    pub(super) fn add(&mut self, choice: Choice) {
        if let Some(pack) = choice.only() {
            self.packs.insert(pack);
        } else if choice.sure.is_empty() {
            self.packs.extend(choice.doubtful);
        } else if choice.sure.iter().any(|pack| self.packs.contains(pack)) {
            // Met already.
        } else if self.choices.len() >= CHOICES_MAX {
            self.packs.extend(choice.sure.first());
        } else {
            self.choices.insert(choice);
        }
    }

    /// Packs that have everything, sorted by number. By now more may be known of packs that were
    /// doubtful.
    pub(super) fn decide(self, index: &BlobIndex, trust: &PackTrust) -> Vec<PackNumber> {
        let Self { packs, choices } = self;
        let id = |pack: &PackNumber| index.packs().get(pack.0 as usize);
        let is_verified = |pack: &PackNumber| id(pack).is_some_and(|id| trust.is_verified(id));
        let mut open: Vec<Vec<PackNumber>> = Vec::new();
        for Choice { mut sure, doubtful } in choices {
            sure.extend(doubtful.iter().filter(|pack| is_verified(pack)));
            if !sure.iter().any(|pack| packs.contains(pack)) {
                // By ids, so that it does not depend on the order in which index files were loaded.
                sure.sort_unstable_by_key(id);
                open.push(sure);
            }
        }
        open.sort_unstable_by_key(|choice| choice.iter().map(id).collect::<Vec<_>>());
        let mut chosen: HashSet<PackNumber> = HashSet::new();
        for choice in &open {
            if !choice.iter().any(|pack| chosen.contains(pack)) {
                chosen.extend(choice.first());
            }
        }
        drop_spare(&open, &mut chosen);
        let mut all: Vec<PackNumber> = packs.iter().copied().chain(chosen).collect();
        all.sort_unstable();
        all
    }
}

/// Takes back what later choices made superfluous.
fn drop_spare(choices: &[Vec<PackNumber>], chosen: &mut HashSet<PackNumber>) {
    let mut hits: Vec<usize> = Vec::with_capacity(choices.len());
    let mut choices_of: HashMap<PackNumber, Vec<usize>> = HashMap::new();
    let mut order: Vec<PackNumber> = Vec::new();
    for (number, choice) in choices.iter().enumerate() {
        let mut count = 0;
        for pack in choice.iter().filter(|pack| chosen.contains(pack)) {
            count += 1;
            let list = choices_of.entry(*pack).or_insert_with(|| {
                order.push(*pack);
                Vec::new()
            });
            list.push(number);
        }
        hits.push(count);
    }
    for pack in order {
        let list = &choices_of[&pack];
        if list.iter().all(|number| hits[*number] > 1) {
            chosen.remove(&pack);
            list.iter().for_each(|number| hits[*number] -= 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use outlast_object::hash;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Every choice is met, and without any one of the packs one would not be.
        #[test]
        fn nothing_is_missing_and_nothing_is_spare(
            singles in prop::collection::vec(0u32..12, 0..4),
            choices in prop::collection::vec(prop::collection::vec(0u32..12, 1..4), 0..12),
        ) {
            let mut index = BlobIndex::new();
            for number in 0..12_u8 {
                index.add_pack(hash(&[number]), &[]);
            }
            let mut places = Places::default();
            for choice in &choices {
                let sure: HashSet<_> = choice.iter().map(|n| PackNumber(*n)).collect();
                let sure = sure.into_iter().collect();
                places.add(Choice { sure, doubtful: Vec::new() });
            }
            for single in &singles {
                places.add_pack(PackNumber(*single));
            }
            let packs: Vec<u32> = places.decide(&index, &PackTrust::default()).iter().map(|pack| pack.0).collect();
            let meets = |packs: &[u32]| {
                singles.iter().all(|single| packs.contains(single))
                    && choices.iter().all(|choice| choice.iter().any(|pack| packs.contains(pack)))
            };
            prop_assert!(meets(&packs));
            for spare in &packs {
                let fewer: Vec<u32> = packs.iter().copied().filter(|pack| pack != spare).collect();
                prop_assert!(!meets(&fewer), "{packs:?} without {spare}");
            }
        }
    }
}
