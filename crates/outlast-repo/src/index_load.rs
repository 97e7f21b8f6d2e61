//! Loading all index files, in parallel; those that cannot be read are passed over with a notice.

use outlast_format::{BlobKind, IndexFile, IndexPack, decode_unpacked};
use outlast_object::{Id, ObjectKind, ObjectName, hash};
use outlast_store::StoreError;
use parking_lot::Mutex;

use crate::index_entries::Entry;
use crate::needed::{IndexFiles, distinct};
use crate::repository::read_verified;
use crate::{BlobIndex, Cancel, Notice, PackNumber, RepoError, Repository};

/// Threads that fetch and parse; each holds one index document in memory.
const THREADS_MAX: usize = 4;

/// What loading the index found.
#[derive(Debug, Default)]
pub(crate) struct LoadedIndex {
    /// The index.
    pub(crate) index: BlobIndex,
    /// The files it was made of.
    pub(crate) files: Vec<Id>,
    /// Which of them lists what.
    pub(crate) index_files: IndexFiles,
    /// What threads found, not in the index yet: a row each.
    parts: Vec<Vec<Entry>>,
    /// Files that could not be read.
    pub(crate) bad_files: Vec<Id>,
}

/// Reads and parses one index file.
pub(crate) fn read_index(repository: &Repository, id: Id) -> Result<IndexFile, RepoError> {
    let name = ObjectName::new(ObjectKind::Index, id);
    let bytes = read_verified(repository.store(), &name)?;
    decode_unpacked(&bytes, repository.key())
        .and_then(|json| IndexFile::from_json(&json))
        .map_err(|error| RepoError::damaged(name, error))
}

/// Is shown each index file, or told what is wrong with it. Called from several threads.
pub(crate) type IndexVisitor<'a> = &'a (dyn Fn(Id, Result<&IndexFile, &RepoError>) + Sync);

/// Loads all index files that are `wanted` and shows each to `visit`. A file that is damaged or planted is passed over; failing to reach the
/// store is an error.
pub(crate) fn load_index(
    repository: &Repository,
    cancel: &Cancel,
    visit: IndexVisitor<'_>,
    wanted: &dyn Fn(&Id) -> bool,
) -> Result<LoadedIndex, RepoError> {
    let mut names: Vec<Id> = Vec::new();
    repository
        .store()
        .list(ObjectKind::Index, &mut |info| names.push(info.id))?;
    names.retain(wanted);
    names.sort_unstable();
    let threads = repository
        .store()
        .connections()
        .clamp(1, THREADS_MAX)
        .min(names.len().max(1));
    let queue = Mutex::new(names.into_iter());
    let loaded = Mutex::new(LoadedIndex::default());
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|_| scope.spawn(|| load_some(repository, cancel, &queue, &loaded, visit)))
            .collect();
        workers
            .into_iter()
            .try_for_each(|worker| match worker.join() {
                Ok(result) => result,
                Err(panic) => std::panic::resume_unwind(panic),
            })
    })?;
    let mut loaded = loaded.into_inner();
    loaded.index.add_loaded(std::mem::take(&mut loaded.parts));
    loaded.files.sort_unstable();
    Ok(loaded)
}

fn load_some(
    repository: &Repository,
    cancel: &Cancel,
    queue: &Mutex<std::vec::IntoIter<Id>>,
    loaded: &Mutex<LoadedIndex>,
    visit: IndexVisitor<'_>,
) -> Result<(), RepoError> {
    let mut entries = Vec::new();
    loop {
        cancel.check()?;
        let Some(id) = queue.lock().next() else {
            loaded.lock().parts.push(entries);
            return Ok(());
        };
        let file = match read_index(repository, id) {
            Ok(file) => file,
            // Removed by somebody since it was listed: what replaced it is listed as well.
            Err(RepoError::Store(error)) if error.is_not_found() => continue,
            // Whoever may not read the index must not conclude that nothing is stored.
            Err(RepoError::Store(error @ StoreError::Denied { .. })) => return Err(error.into()),
            Err(error) => {
                let error = repository.of_one_object(error)?;
                visit(id, Err(&error));
                let reason = error.to_string();
                repository
                    .environment()
                    .notice(Notice::BadIndex { id, reason });
                loaded.lock().bad_files.push(id);
                continue;
            }
        };
        visit(id, Ok(&file));
        add_file(repository, id, &file, loaded, &mut entries);
    }
}

/// Entries with impossible places are dropped one by one; the rest of the file counts. What all threads
/// share is held for a moment a file only, as long as numbers are given to its packs.
fn add_file(
    repository: &Repository,
    id: Id,
    file: &IndexFile,
    loaded: &Mutex<LoadedIndex>,
    entries: &mut Vec<Entry>,
) {
    let mut refused = 0;
    let mut tree_packs = Vec::new();
    let mut listed = Vec::with_capacity(file.packs.len());
    let numbers: Vec<PackNumber> = {
        let index = &mut loaded.lock().index;
        let packs = file.packs.iter();
        packs.map(|pack| index.number_of(pack.id)).collect()
    };
    let mut blobs = Vec::new();
    for (pack, number) in file.packs.iter().zip(numbers) {
        blobs.clear();
        for blob in &pack.blobs {
            match blob.to_packed() {
                Ok(blob) => blobs.push(blob),
                Err(_) => refused += 1,
            }
        }
        entries.extend(blobs.iter().map(|blob| Entry::new(number, blob)));
        listed.push((number, distinct(&blobs)));
        // Packs of old repositories that mix trees with data are too much for a cache.
        if blobs.iter().all(|blob| blob.handle.kind == BlobKind::Tree) {
            tree_packs.push(pack.id);
        }
    }
    repository.store().declare_tree_packs(&tree_packs);
    if refused > 0 {
        let reason = format!("{refused} of its entries describe impossible places");
        repository
            .environment()
            .notice(Notice::BadIndex { id, reason });
    }
    let mut loaded = loaded.lock();
    let number = loaded.index_files.begin(id);
    for (pack, count) in listed {
        loaded.index_files.add_counted(number, pack, count);
    }
    loaded.files.push(id);
}

/// A hash of all that an index says of a pack, whatever order it says it in.
pub(crate) fn fingerprint(pack: &IndexPack) -> Id {
    let mut entries: Vec<[u8; 45]> = pack
        .blobs
        .iter()
        .map(|blob| {
            let mut entry = [0; 45];
            entry[..32].copy_from_slice(blob.id.as_bytes());
            entry[32] = u8::from(blob.kind == BlobKind::Tree);
            entry[33..37].copy_from_slice(&blob.offset.to_le_bytes());
            entry[37..41].copy_from_slice(&blob.length.to_le_bytes());
            entry[41..].copy_from_slice(&blob.uncompressed_length.to_le_bytes());
            entry
        })
        .collect();
    entries.sort_unstable();
    hash(entries.as_flattened())
}
