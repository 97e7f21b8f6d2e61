//! The documents and blobs of a repository as they are, opened: for curious people and programs.

use outlast_format::{BlobHandle, Lock, master_key_json};
use outlast_object::{Id, ObjectKind, ObjectName, hash};
use serde::Serialize;
use zeroize::Zeroizing;

use crate::keys::read_key;
use crate::{Notice, RepoError, Repository};

fn pretty(document: &impl Serialize) -> Result<Vec<u8>, RepoError> {
    serde_json::to_vec_pretty(document).map_err(|error| RepoError::Refused(error.to_string()))
}

/// The config's JSON, indented.
pub fn cat_config(repository: &Repository) -> Result<Vec<u8>, RepoError> {
    pretty(repository.config())
}

/// The master key's JSON. Whoever has it can read everything.
pub fn cat_master_key(repository: &Repository) -> Result<Zeroizing<Vec<u8>>, RepoError> {
    Ok(master_key_json(repository.key())?)
}

/// The JSON of an index as it is.
pub fn cat_index(repository: &Repository, id: Id) -> Result<Vec<u8>, RepoError> {
    repository.load_document(ObjectKind::Index, id)
}

/// A snapshot's JSON, indented.
pub fn cat_snapshot(repository: &Repository, id: Id) -> Result<Vec<u8>, RepoError> {
    pretty(&repository.load_snapshot(id)?)
}

/// A key file's JSON, indented. It holds no secret without its password.
pub fn cat_key(repository: &Repository, id: Id) -> Result<Vec<u8>, RepoError> {
    pretty(&read_key(repository.store(), id)?)
}

/// A lock's JSON, indented.
pub fn cat_lock(repository: &Repository, id: Id) -> Result<Vec<u8>, RepoError> {
    let json = repository.load_document(ObjectKind::Lock, id)?;
    pretty(&Lock::from_json(&json)?)
}

/// A pack's bytes as they are kept, also where they are damaged; a notice says so then.
pub fn cat_pack(repository: &Repository, id: Id) -> Result<Vec<u8>, RepoError> {
    let name = ObjectName::pack(id);
    let bytes = repository.store().read(&name)?;
    let found = hash(&bytes);
    if found != id {
        let reason = format!("its content hashes to {found}");
        repository
            .environment()
            .notice(Notice::Damaged { name, reason });
    }
    Ok(bytes)
}

/// A blob's plaintext: data, or a tree where no data has this id. Needs the index.
pub fn cat_blob(repository: &Repository, id: Id) -> Result<Vec<u8>, RepoError> {
    match repository.load_blob(BlobHandle::data(id)) {
        Err(RepoError::BlobMissing(_)) => repository.load_blob(BlobHandle::tree(id)),
        result => result,
    }
}
