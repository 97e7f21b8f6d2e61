//! Replacing index files by others that say the same, except about some packs.

use std::collections::HashSet;

use outlast_format::{IndexFile, PackedBlob};
use outlast_object::{Id, ObjectKind, ObjectName};

use crate::index_load::read_index;
use crate::index_writer::IndexWriter;
use crate::{Cancel, NotRemoved, Progress, Removal, RepoError, Repository, Stage};

/// Which index files are replaced.
pub(super) struct Replacement<'a> {
    pub(super) repository: &'a Repository,
    /// Readable index files.
    pub(super) files: &'a [Id],
    /// What these files say of these packs is not taken over.
    pub(super) without: &'a HashSet<Id>,
}

impl Replacement<'_> {
    /// Gives `writer` all that has to be said again, and gives the files that nobody needs once that
    /// is written.
    pub(super) fn write(
        &self,
        writer: &IndexWriter,
        progress: &dyn Progress,
        cancel: &Cancel,
    ) -> Result<Vec<Id>, RepoError> {
        progress.begin(Stage::RewriteIndex, self.files.len() as u64);
        let mut seen: HashSet<Id> = HashSet::new();
        let mut outdated = Vec::new();
        for id in self.files {
            cancel.check()?;
            let file = read_index(self.repository, *id)?;
            if !self.is_outdated(&file, &seen) {
                seen.extend(file.packs.iter().map(|pack| pack.id));
                progress.advance(Stage::RewriteIndex, 1);
                continue;
            }
            for pack in &file.packs {
                if self.without.contains(&pack.id) || !seen.insert(pack.id) {
                    continue;
                }
                let blobs = pack.blobs.iter().filter_map(|blob| blob.to_packed().ok());
                let blobs: Vec<PackedBlob> = blobs.collect();
                if !blobs.is_empty() {
                    writer.add(self.repository, pack.id, &blobs)?;
                }
            }
            outdated.push(*id);
            progress.advance(Stage::RewriteIndex, 1);
        }
        Ok(outdated)
    }

    fn is_outdated(&self, file: &IndexFile, seen: &HashSet<Id>) -> bool {
        let mut own = HashSet::new();
        file.packs.is_empty()
            || !file.supersedes.is_empty()
            || file.packs.iter().any(|pack| {
                self.without.contains(&pack.id)
                    || seen.contains(&pack.id)
                    || !own.insert(pack.id)
                    || pack.blobs.iter().any(|blob| blob.to_packed().is_err())
            })
    }
}

/// Removes index files. Their successors must be durable.
pub(super) fn remove_files(
    removal: &Removal<'_>,
    files: &[Id],
    progress: &dyn Progress,
    cancel: &Cancel,
) -> Result<Vec<NotRemoved>, RepoError> {
    let name = |id: &Id| ObjectName::new(ObjectKind::Index, *id);
    let names: Vec<ObjectName> = files.iter().map(name).collect();
    removal.remove_all(&names, progress, cancel)
}
