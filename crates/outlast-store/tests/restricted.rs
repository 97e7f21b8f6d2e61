//! Stores whose credentials are good for less than everything.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::SystemTime;

use outlast_object::{Id, ObjectKind, ObjectName};
use outlast_store::conformance::{name_of, sample_bytes};
use outlast_store::testing::RestServer;
use outlast_store::{
    Cached, Capabilities, ConnectOptions, Deletes, Limit, Limits, Location, LockStore, MemoryStore,
    Refused, RepositoryCache, Restricted, Retry, RetryPolicy, Store, StoreError, Throttle, open,
};

const KINDS: [ObjectKind; 5] = [
    ObjectKind::Key,
    ObjectKind::Index,
    ObjectKind::Snapshot,
    ObjectKind::Pack,
    ObjectKind::Lock,
];

/// A store with one object of each kind, and a server that shows it as a vault does.
fn filled() -> (RestServer, Vec<ObjectName>) {
    let server = RestServer::start().unwrap();
    let store = server.repository("r");
    let mut names = vec![ObjectName::CONFIG];
    names.extend(KINDS.map(|kind| name_of(kind, b"content")));
    for name in &names {
        store.write(name, b"content").unwrap();
    }
    (server, names)
}

fn open_with(server: &RestServer, capabilities: Capabilities) -> Arc<dyn Deletes> {
    let options = ConnectOptions {
        capabilities,
        ..ConnectOptions::default()
    };
    open(&Location::parse(&server.location("r")).unwrap(), &options).unwrap()
}

/// What each kind of credential may do is refused alike by a server and by the decorator, and the
/// decorator does not even ask.
#[test]
fn a_vault_and_what_stands_in_front_of_it_refuse_the_same() {
    for may in [
        Capabilities::APPEND,
        Capabilities::ENROL,
        Capabilities::RESTORE,
        Capabilities::APPEND_AND_RESTORE,
    ] {
        let (server, names) = filled();
        server.become_vault(may);
        let unaware = open_with(&server, Capabilities::ALL);
        let aware = open_with(&server, may);
        assert_eq!(aware.capabilities(), may);
        for name in names.iter().filter(|n| n.kind() != ObjectKind::Lock) {
            let label = format!("{may:?} {name}");
            let fresh = name_of(name.kind(), b"other");
            let reads = name.kind() != ObjectKind::Pack || may.reads_packs;
            let adds = may.adds && (name.kind() != ObjectKind::Key || may.adds_keys);
            for store in [&unaware, &aware] {
                assert_eq!(store.size(name).unwrap(), 7, "{label}");
                assert_eq!(store.read(name).is_ok(), reads, "{label}");
                assert_eq!(store.read_range(name, 1, 2).is_ok(), reads, "{label}");
                // Other bytes than those of the config there are nobody's to write.
                let added = store.write(&fresh, b"other").is_ok();
                let expected = adds && name.kind() != ObjectKind::Config;
                assert_eq!(added, expected, "{label}");
                assert!(matches!(
                    store.delete(name),
                    Err(StoreError::DeletesRefused { .. })
                ));
            }
        }
        let asked = server.requests().len();
        let pack = name_of(ObjectKind::Pack, b"content");
        let _ = aware.delete(&pack);
        if !may.reads_packs {
            let _ = aware.read(&pack);
        }
        assert_eq!(server.requests().len(), asked, "{may:?}");
        // Locks are exempt.
        let lock = name_of(ObjectKind::Lock, b"a lock");
        aware.write(&lock, b"a lock").unwrap();
        aware.remove_lock(&lock.id()).unwrap();
        aware.delete(&lock).unwrap();
        assert_eq!(aware.list_all(ObjectKind::Lock).unwrap(), []);
    }
}

#[test]
fn a_server_in_append_only_mode_removes_nothing_and_says_so() {
    let (server, names) = filled();
    server.make_append_only();
    let store = open_with(&server, Capabilities::ALL);
    for name in names.iter().filter(|n| n.kind() != ObjectKind::Lock) {
        let error = store.delete(name).unwrap_err();
        assert!(
            matches!(error, StoreError::DeletesRefused { .. }),
            "{error}"
        );
        assert!(!error.is_retryable());
        assert!(error.to_string().contains("removes nothing"), "{error}");
    }
}

#[test]
fn decorators_pass_on_what_is_known() {
    let base = tempfile::tempdir().unwrap();
    let cache = RepositoryCache::open(base.path(), &Id::default(), SystemTime::UNIX_EPOCH).unwrap();
    let store = Restricted::new(MemoryStore::new(), Capabilities::APPEND);
    let store = outlast_store::faults::FaultStore::new(store);
    let store = Limit::new(store, Arc::new(Throttle::new(Limits::default())));
    let store = Retry::new(store, RetryPolicy::default());
    let store = Arc::new(Cached::new(store, Arc::new(cache)));
    assert_eq!(store.capabilities(), Capabilities::APPEND);
    // What is narrower counts, whatever the order.
    let store = Restricted::new(store, Capabilities::RESTORE);
    let both = Capabilities {
        reads_packs: false,
        adds: false,
        adds_keys: false,
        removes: false,
    };
    assert_eq!(store.capabilities(), both);
    assert_eq!(store.unannounced().capabilities(), Capabilities::APPEND);
}

#[test]
fn what_is_refused_can_be_looked_up() {
    let store = Restricted::new(MemoryStore::new(), Capabilities::APPEND).unannounced();
    assert_eq!(store.capabilities(), Capabilities::ALL);
    let pack = name_of(ObjectKind::Pack, b"pack");
    let key = name_of(ObjectKind::Key, b"key");
    store.write(&pack, b"pack").unwrap();
    assert!(store.read(&pack).is_err() && store.read_range(&pack, 0, 1).is_err());
    assert!(store.write(&key, b"key").is_err() && store.delete(&pack).is_err());
    let id = pack.id();
    let expected = [
        Refused::ReadPack(id),
        Refused::ReadPack(id),
        Refused::Add(key),
        Refused::Remove(pack),
    ];
    assert_eq!(store.refused(), expected);
    assert!(store.inner().exists(&pack).unwrap());
}

/// A tree pack that this host uploaded is in its cache; another one is asked for once and not again.
#[test]
fn a_cache_gives_what_was_uploaded_and_does_not_ask_for_more() {
    let base = tempfile::tempdir().unwrap();
    let open_cache =
        || RepositoryCache::open(base.path(), &Id::default(), SystemTime::UNIX_EPOCH).unwrap();
    let (own, other) = (sample_bytes(1, 1000), sample_bytes(2, 1000));
    let own_name = name_of(ObjectKind::Pack, &own);
    let other_name = name_of(ObjectKind::Pack, &other);
    let memory = Arc::new(MemoryStore::new());
    memory.write(&other_name, &other).unwrap();
    for announced in [true, false] {
        let vault = Restricted::new(Arc::clone(&memory), Capabilities::APPEND);
        let vault = Arc::new(if announced {
            vault
        } else {
            vault.unannounced()
        });
        let store = Cached::new(Arc::clone(&vault), Arc::new(open_cache()));
        store.declare_tree_packs(&[own_name.id(), other_name.id()]);
        store.write(&own_name, &own).unwrap();
        assert_eq!(store.read_range(&own_name, 10, 5).unwrap(), own[10..15]);
        assert_eq!(vault.refused(), []);
        let error = store.read_range(&other_name, 10, 5).unwrap_err();
        assert!(matches!(error, StoreError::Denied { .. }), "{error}");
        assert_eq!(vault.refused(), [Refused::ReadPack(other_name.id())]);
    }
}
