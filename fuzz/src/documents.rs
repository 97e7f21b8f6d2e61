//! The JSON documents of the format.

use outlast_format::{
    Config, IndexFile, KeyFile, Lock, Snapshot, TreeBuilder, TreeReader, to_go_json,
};

/// Costs above which deriving a key would only be slow.
const SCRYPT_N_MAX: u64 = 64;
const SCRYPT_R_P_MAX: u32 = 8;

/// A repository's config.
pub fn config(data: &[u8]) {
    if let Ok(config) = Config::from_json(data) {
        let json = to_go_json(&config).expect("a config can be written");
        assert_eq!(Config::from_json(&json).as_ref(), Ok(&config));
    }
}

/// A key file, and what happens when somebody tries a password on it.
pub fn key_file(data: &[u8]) {
    let Ok(file) = KeyFile::from_json(data) else {
        return;
    };
    let json = file.to_json().expect("a key file can be written");
    let again = KeyFile::from_json(&json).expect("and read again");
    assert_eq!(again.cost(), file.cost());
    let cost = file.cost();
    if cost.n <= SCRYPT_N_MAX && cost.r.saturating_mul(cost.p) <= SCRYPT_R_P_MAX {
        let _ = file.unwrap(b"password");
    }
}

/// An index file, of today's or the obsolete form.
pub fn index(data: &[u8]) {
    let Ok(index) = IndexFile::from_json(data) else {
        return;
    };
    let json = index.to_json().expect("an index can be written");
    assert_eq!(IndexFile::from_json(&json).as_ref(), Ok(&index));
    for blob in index.packs.iter().flat_map(|pack| &pack.blobs) {
        if let Ok(packed) = blob.to_packed() {
            assert!(packed.end() <= u64::from(u32::MAX));
            assert!(packed.plaintext_length() < u32::MAX);
        }
    }
}

/// A snapshot.
pub fn snapshot(data: &[u8]) {
    if let Ok(snapshot) = Snapshot::from_json(data) {
        let json = snapshot.to_json().expect("a snapshot can be written");
        let again = Snapshot::from_json(&json).expect("and read again");
        assert_eq!(again.to_json().expect("and written again"), json);
    }
}

/// A lock.
pub fn lock(data: &[u8]) {
    if let Ok(lock) = Lock::from_json(data) {
        let json = lock.to_json().expect("a lock can be written");
        let again = Lock::from_json(&json).expect("and read again");
        assert_eq!(again.to_json().expect("and written again"), json);
    }
}

/// A tree.
pub fn tree(data: &[u8]) {
    let mut reader = TreeReader::new(data);
    let mut nodes = Vec::new();
    for node in reader.by_ref() {
        match node {
            Ok(node) => nodes.push(node),
            Err(_) => {
                assert!(reader.next().is_none(), "nothing comes after an error");
                return;
            }
        }
    }
    let in_order = nodes.windows(2).all(|pair| pair[0].name < pair[1].name);
    assert!(in_order, "names come in order, each once");

    let mut builder = TreeBuilder::new();
    for node in &nodes {
        if builder.push(node).is_err() {
            return;
        }
    }
    let again = TreeReader::new(builder.finish())
        .collect_nodes()
        .expect("what was written can be read");
    assert_eq!(again.len(), nodes.len());
    for (one, other) in nodes.iter().zip(&again) {
        assert_eq!(one.name, other.name);
        assert_eq!(one.content, other.content);
        assert_eq!(one.subtree, other.subtree);
        assert_eq!(one.size, other.size);
    }
}
