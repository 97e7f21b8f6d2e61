//! Index files: whether each can be read, and whether they agree with each other.

use std::collections::HashMap;

use outlast_format::BlobKind;
use outlast_object::Id;
use parking_lot::Mutex;

use super::Finding;
use super::report::Findings;
use crate::bits::Bits;
use crate::index_load::fingerprint;
use crate::{Cancel, PackNumber, RepoError, Repository};

#[derive(Debug, Clone, Copy)]
struct Mentions {
    files: u32,
    /// Of all that the first file says of the pack.
    fingerprint: Id,
    differ: bool,
}

/// What is odd about packs by the index alone.
#[derive(Debug, Default)]
pub(super) struct IndexFacts {
    /// Packs of which index files say different things.
    pub(super) contradicted: Vec<Id>,
}

/// Loads the index and compares what its files say of the same packs.
pub(super) fn check_index(
    repository: &Repository,
    findings: &Findings<'_>,
    cancel: &Cancel,
) -> Result<IndexFacts, RepoError> {
    let mentions: Mutex<HashMap<Id, Mentions>> = Mutex::default();
    repository.load_index_showing(cancel, &|id, file| match file {
        Ok(file) => {
            let entries = file.packs.iter().flat_map(|pack| &pack.blobs);
            let refused = entries.filter(|blob| blob.to_packed().is_err()).count();
            if refused > 0 {
                let reason = format!("{refused} of its entries describe impossible places");
                findings.add(Finding::BadIndex { id, reason });
            }
            for pack in &file.packs {
                let fingerprint = fingerprint(pack);
                let mut mentions = mentions.lock();
                let mention = mentions.entry(pack.id).or_insert(Mentions {
                    files: 0,
                    fingerprint,
                    differ: false,
                });
                mention.files += 1;
                mention.differ |= mention.fingerprint != fingerprint;
            }
        }
        Err(error) => {
            let reason = error.to_string();
            findings.add(Finding::BadIndex { id, reason });
        }
    })?;
    let mut contradicted = Vec::new();
    for (pack, mention) in mentions.into_inner() {
        if mention.differ {
            contradicted.push(pack);
        }
        if mention.files > 1 {
            let files = mention.files;
            findings.add(Finding::DuplicatePack { pack, files });
        }
    }
    find_mixed(repository, findings);
    Ok(IndexFacts { contradicted })
}

fn find_mixed(repository: &Repository, findings: &Findings<'_>) {
    let index = repository.index();
    let has_data = Bits::new(index.packs().len());
    for location in index.iter() {
        if location.blob.handle.kind == BlobKind::Data {
            has_data.set(location.pack.0 as usize);
        }
    }
    for (number, pack) in index.packs().iter().enumerate() {
        if has_data.get(number) && index.pack_facts(PackNumber(number as u32)).has_trees {
            findings.add(Finding::MixedPack { pack: *pack });
        }
    }
}
