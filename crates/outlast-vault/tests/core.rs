//! What a vault keeps, refuses and proves.

#![allow(clippy::unwrap_used)]

mod support;

use std::fs;
use std::io::Read;

use outlast_custody::{ObjectList, Receipt, Scope};
use outlast_object::{Id, ObjectKind, ObjectName, hash};
use outlast_vault::{Accepted, Index, VaultError, object_path};

use support::*;

fn all_of(vault: &outlast_vault::Vault, view: &outlast_vault::View) -> Vec<ObjectName> {
    let mut names = Vec::new();
    for kind in ObjectKind::ALL {
        vault
            .list(view, kind, &mut |name, _| {
                names.push(name);
                true
            })
            .unwrap();
    }
    names
}

#[test]
fn what_was_accepted_is_there_and_survives_the_loss_of_the_index() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::new(&folder.path().join("vault"));
    let path = folder.path().join("index");
    let bytes = pack(1, 1000);
    let name = ObjectName::pack(hash(&bytes));
    let before = {
        let (vault, caller) = world.initialised();
        assert!(matches!(
            put(&vault, &caller, &bytes, ObjectKind::Pack),
            Ok(Accepted::New(_))
        ));
        let again = put(&vault, &caller, &bytes, ObjectKind::Pack).unwrap();
        assert!(matches!(again, Accepted::Known(_)));
        vault.object(&repository(), &name).unwrap()
    };
    assert!(before.is_some());
    for _ in 0..3 {
        // An index that is new, then one that has almost everything.
        let vault = world.open_with(Index::open(&path).unwrap()).unwrap();
        assert_eq!(vault.object(&repository(), &name).unwrap(), before);
        let reader = caller(&vault, &[Scope::Restore]);
        let view = vault.view(&reader).unwrap();
        assert_eq!(all_of(&vault, &view).len(), 3);
        let (mut body, size) = vault.read(&view, &name).unwrap();
        let mut found = Vec::new();
        body.read_to_end(&mut found).unwrap();
        assert_eq!((found.as_slice(), size), (bytes.as_slice(), 1000));
        assert_eq!(
            vault.read_range(&view, &name, 996, 10).unwrap(),
            bytes[996..]
        );
    }
}

#[test]
fn nothing_is_replaced_and_nothing_false_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::new(folder.path());
    let (vault, caller) = world.initialised();
    let bytes = pack(1, 1000);
    put(&vault, &caller, &bytes, ObjectKind::Pack).unwrap();
    let other = put_as(
        &vault,
        &caller,
        &pack(2, 1000),
        ObjectKind::Pack,
        hash(&bytes),
    );
    assert!(matches!(other, Err(VaultError::OtherBytes(_))), "{other:?}");
    let false_name = put_as(
        &vault,
        &caller,
        &pack(2, 1000),
        ObjectKind::Pack,
        hash(b"x"),
    );
    assert!(matches!(false_name, Err(VaultError::Shape(_))));
    let no_pack = put(&vault, &caller, &[7; 1000], ObjectKind::Pack);
    assert!(matches!(no_pack, Err(VaultError::Shape(_))));
    let large = vec![7; 70_000];
    assert!(matches!(
        put(&vault, &caller, &large, ObjectKind::Pack),
        Err(VaultError::Shape(_))
    ));
    let config = put(&vault, &caller, &[6; 155], ObjectKind::Config);
    assert!(
        matches!(config, Err(VaultError::OtherBytes(_))),
        "{config:?}"
    );
    let key = key_file().repeat(1);
    assert!(matches!(
        put(&vault, &caller, &key, ObjectKind::Key),
        Err(VaultError::Forbidden(_))
    ));
    // A body that ends early, and one that goes on after what it declared.
    let name = ObjectName::pack(hash(&pack(3, 1000)));
    let short = vault.accept(&caller, &name, Some(1000), &mut &pack(3, 1000)[..999]);
    assert!(matches!(short, Err(VaultError::Upload(_))), "{short:?}");
    // Without a declared length the hash alone tells that something is missing, and the limit bounds
    // what never ends.
    let short = vault.accept(&caller, &name, None, &mut &pack(3, 1000)[..999]);
    assert!(matches!(short, Err(VaultError::Shape(_))), "{short:?}");
    let index = ObjectName::new(ObjectKind::Snapshot, hash(b"endless"));
    let endless = vault.accept(&caller, &index, None, &mut std::io::repeat(7));
    assert!(matches!(endless, Err(VaultError::Shape(_))), "{endless:?}");
    assert!(vault.object(&repository(), &name).unwrap().is_none());
    let path = folder.path().join(object_path(&repository(), &name));
    assert!(!path.exists());
}

#[test]
fn a_key_without_its_config_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::new(folder.path());
    let (vault, caller) = world.with_caller(&[Scope::Enrol]);
    let config_first = put(&vault, &caller, &[5; 155], ObjectKind::Config);
    assert!(matches!(config_first, Err(VaultError::Forbidden(_))));
    let view = vault.view(&caller).unwrap();
    let first = key_file();
    let second = String::from_utf8(key_file())
        .unwrap()
        .replace("AA==", "BB==")
        .into_bytes();
    for key in [&first, &second] {
        let outcome = put(&vault, &caller, key, ObjectKind::Key).unwrap();
        assert_eq!(outcome, Accepted::Provisional);
        assert!(all_of(&vault, &view).is_empty());
    }
    put(&vault, &caller, &[5; 155], ObjectKind::Config).unwrap();
    let expected = [
        ObjectName::CONFIG,
        ObjectName::new(ObjectKind::Key, hash(&second)),
    ];
    assert_eq!(all_of(&vault, &view), expected);
}

#[test]
fn scopes_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::new(folder.path());
    let (vault, both) = world.initialised();
    let bytes = pack(1, 1000);
    let name = ObjectName::pack(hash(&bytes));
    put(&vault, &both, &bytes, ObjectKind::Pack).unwrap();
    for scopes in [&[Scope::Restore][..], &[Scope::Pull], &[Scope::Enrol], &[]] {
        let caller = caller(&vault, scopes);
        let outcome = put(&vault, &caller, &pack(2, 1000), ObjectKind::Pack);
        assert!(
            matches!(outcome, Err(VaultError::Forbidden(_))),
            "{scopes:?}"
        );
    }
    let append = caller(&vault, &[Scope::Append]);
    let view = vault.view(&append).unwrap();
    assert!(vault.look(&view, &name).is_ok());
    assert!(matches!(
        vault.read(&view, &name),
        Err(VaultError::Forbidden(_))
    ));
    assert!(vault.read(&view, &ObjectName::CONFIG).is_ok());
    assert!(vault.view(&caller(&vault, &[])).is_err());
}

#[test]
fn tokens_are_checked_whole_and_can_be_revoked() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::new(folder.path());
    let (vault, _) = world.with_caller(&[]);
    let made = vault
        .add_token(&repository(), &[Scope::Append], "web")
        .unwrap();
    let id = made.token.to_string();
    assert!(vault.authenticate(&id, &made.secret).is_ok());
    for (id, secret) in [
        (id.as_str(), ""),
        (&id, "x"),
        ("", &made.secret),
        ("0000000000000000", &made.secret),
    ] {
        let outcome = vault.authenticate(id, secret);
        assert!(matches!(outcome, Err(VaultError::Unauthorised)));
    }
    vault.revoke_token(made.token).unwrap();
    assert!(vault.authenticate(&id, &made.secret).is_err());
    drop(vault);
    assert!(world.open().authenticate(&id, &made.secret).is_err());
    // The secret itself is nowhere on the disk.
    let journal = fs::read(folder.path().join("ledger/journal/0000000000000000")).unwrap();
    let text = String::from_utf8_lossy(&journal);
    assert!(text.contains(&id) && !text.contains(&made.secret));
}

#[test]
fn the_quota_is_kept_and_room_comes_back_after_a_failure() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::new(folder.path());
    let (vault, caller) = world.initialised();
    let mut small = settings();
    small.quota_bytes = 2500;
    vault.set_repository(&repository(), small).unwrap();
    for _ in 0..10 {
        let wrong = put_as(
            &vault,
            &caller,
            &pack(9, 1000),
            ObjectKind::Pack,
            hash(b"x"),
        );
        assert!(matches!(wrong, Err(VaultError::Shape(_))), "{wrong:?}");
    }
    put(&vault, &caller, &pack(1, 1000), ObjectKind::Pack).unwrap();
    put(&vault, &caller, &pack(2, 1000), ObjectKind::Pack).unwrap();
    let full = put(&vault, &caller, &pack(3, 1000), ObjectKind::Pack);
    assert!(matches!(full, Err(VaultError::Full(_))), "{full:?}");
    assert!(put(&vault, &caller, &pack(1, 1000), ObjectKind::Pack).is_ok());
}

#[test]
fn what_was_planted_later_is_not_in_an_older_view() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::new(folder.path());
    let (vault, append) = world.initialised();
    put(&vault, &append, &[1; 200], ObjectKind::Snapshot).unwrap();
    let reader = caller(&vault, &[Scope::Restore]);
    let honest = all_of(&vault, &vault.view(&reader).unwrap());
    world.clocks.pass(1000);
    let moment = vault.time();
    world.clocks.pass(1000);
    put(&vault, &append, &[2; 500], ObjectKind::Index).unwrap();
    put(&vault, &append, &[3; 500], ObjectKind::Snapshot).unwrap();
    let view = vault.view_at(&reader, moment).unwrap();
    assert_eq!(all_of(&vault, &view), honest);
    let planted = ObjectName::new(ObjectKind::Snapshot, hash(&[3; 500]));
    assert!(matches!(
        vault.look(&view, &planted),
        Err(VaultError::NotFound(_))
    ));
    assert!(matches!(
        vault.read(&view, &planted),
        Err(VaultError::NotFound(_))
    ));
    assert_eq!(
        all_of(&vault, &vault.view(&reader).unwrap()).len(),
        honest.len() + 2
    );
    assert!(all_of(&vault, &vault.view_at(&reader, 5).unwrap()).is_empty());
}

#[test]
fn seals_are_proven_by_receipts_and_never_shortened() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::new(folder.path());
    let (vault, append) = world.initialised();
    for seed in 0..300 {
        put(&vault, &append, &pack(seed, 500), ObjectKind::Pack).unwrap();
    }
    let snapshot = hash(&[1; 200]);
    put(&vault, &append, &[1; 200], ObjectKind::Snapshot).unwrap();
    let reader = caller(&vault, &[Scope::Restore]);
    let list = ObjectList::new(all_of(&vault, &vault.view(&reader).unwrap()));
    let seal = vault.seal(&append, snapshot, &list).unwrap();
    let text = vault.receipt(&repository(), seal).unwrap().encode();

    let receipt = Receipt::parse(&text)
        .unwrap()
        .verify(&vault.identity(), &[])
        .unwrap();
    assert_eq!(receipt.check_list(&list), Ok(()));
    assert_eq!(receipt.seal().until, vault.time() + 30 * DAY);
    assert_eq!(receipt.proof().index(), seal);
    assert_eq!(vault.sealed_list(receipt.seal()).unwrap(), Some(list));

    let until = receipt.seal().until;
    for shorter in [0, until - 1, until] {
        let outcome = vault.extend(&repository(), seal, shorter);
        assert!(matches!(outcome, Err(VaultError::Hold(_))));
    }
    let outcome = vault.extend(&repository(), seal, until + 1000 * DAY);
    assert!(matches!(outcome, Err(VaultError::Hold(_))));
    vault.extend(&repository(), seal, until + DAY).unwrap();
    assert_eq!(
        vault.held_until(&repository(), seal).unwrap(),
        Some(until + DAY)
    );
    drop(vault);
    let vault = world.open();
    assert_eq!(
        vault.held_until(&repository(), seal).unwrap(),
        Some(until + DAY)
    );
    // The receipt made before still proves the seal, and a new one proves it again.
    let again = vault.receipt(&repository(), seal).unwrap();
    assert!(again.verify(&vault.identity(), &[]).is_ok());
}

#[test]
fn a_seal_over_something_missing_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::new(folder.path());
    let (vault, append) = world.initialised();
    put(&vault, &append, &[1; 200], ObjectKind::Snapshot).unwrap();
    put(&vault, &append, &pack(1, 500), ObjectKind::Pack).unwrap();
    let snapshot = hash(&[1; 200]);
    let there = ObjectName::pack(hash(&pack(1, 500)));
    let missing = ObjectName::pack(Id::from_bytes([9; 32]));
    let named = ObjectName::new(ObjectKind::Snapshot, snapshot);
    let refused = |objects: &[ObjectName]| {
        let list = ObjectList::new(
            [ObjectName::CONFIG]
                .into_iter()
                .chain(objects.iter().copied()),
        );
        match vault.seal(&append, snapshot, &list) {
            Err(VaultError::SealIncomplete(name)) => name,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(refused(&[named, there, missing]), missing);
    assert_eq!(refused(&[there]), named);
    let path = folder.path().join(object_path(&repository(), &there));
    fs::remove_file(&path).unwrap();
    assert_eq!(refused(&[named, there]), there);
    // Whoever still has the object puts it back.
    put(&vault, &append, &pack(1, 500), ObjectKind::Pack).unwrap();
    let list = ObjectList::new([ObjectName::CONFIG, named, there]);
    assert!(vault.seal(&append, snapshot, &list).is_ok());
}

#[test]
fn a_moved_clock_moves_no_hold_and_time_never_goes_back() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::new(folder.path());
    let (vault, append) = world.initialised();
    let now = vault.time();
    world
        .clocks
        .clock
        .fetch_add(10 * 365 * DAY, std::sync::atomic::Ordering::SeqCst);
    assert_eq!(vault.time(), now);
    put(&vault, &append, &pack(1, 500), ObjectKind::Pack).unwrap();
    let name = ObjectName::pack(hash(&pack(1, 500)));
    let admission = vault.object(&repository(), &name).unwrap().unwrap();
    assert_eq!((admission.time, admission.until_min), (now, now + 90 * DAY));
    drop(vault);
    world
        .clocks
        .clock
        .store(5, std::sync::atomic::Ordering::SeqCst);
    world
        .clocks
        .running
        .store(1, std::sync::atomic::Ordering::SeqCst);
    assert_eq!(world.open().time(), now);
}

#[test]
fn the_log_is_audited_from_its_files_alone() {
    use std::collections::BTreeMap;

    use outlast_log::{Tile, VerifiedCheckpoint, decode_bundle, leaf_hash, root, subtree_in_tile};

    let folder = tempfile::tempdir().unwrap();
    let world = World::new(folder.path());
    let (mut vault, append) = world.initialised();
    for seed in 0..700 {
        put(&vault, &append, &pack(seed, 200), ObjectKind::Pack).unwrap();
        if seed == 400 {
            drop(vault);
            vault = world.open();
        }
    }
    let pull = caller(&vault, &[Scope::Pull]);
    let file = |path: &str| vault.log_file(Some(&pull), path).unwrap();
    let checkpoint = file("checkpoint").unwrap();
    let state = VerifiedCheckpoint::open(&checkpoint, &vault.identity(), &[]).unwrap();
    let state = state.checkpoint().clone();
    assert!(state.size > 700);

    let mut entries = BTreeMap::new();
    for number in 0..=state.size / 256 {
        let width = (state.size - number * 256).min(256);
        let partial = if width < 256 {
            format!(".p/{width}")
        } else {
            String::new()
        };
        let bundle = file(&format!("tile/entries/{number:03}{partial}")).unwrap();
        for (at, entry) in decode_bundle(&bundle).unwrap().into_iter().enumerate() {
            entries.insert(number * 256 + at as u64, leaf_hash(entry));
        }
    }
    assert_eq!(entries.len() as u64, state.size);
    assert_eq!(
        outlast_log::tree_root(entries.values().copied()),
        state.root
    );
    let by_tiles = root(state.size, |level, index| {
        let mut tile = Tile::containing(level, index);
        let there = (state.size >> (8 * tile.level)) - tile.index * 256;
        tile.width = there.min(256) as u16;
        subtree_in_tile(&file(&tile.path()).unwrap(), level, index)
    });
    assert_eq!(by_tiles, Ok(state.root));

    assert_eq!(file("tile/0/999"), None);
    assert_eq!(file("tile/0/../checkpoint"), None);
    let refused = vault.log_file(None, "tile/entries/000");
    assert!(matches!(refused, Err(VaultError::Forbidden(_))));
    assert!(vault.log_file(None, "tile/0/000").unwrap().is_some());
}

#[test]
fn a_changed_journal_is_found_and_a_torn_one_mended() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::new(folder.path());
    let (vault, append) = world.initialised();
    put(&vault, &append, &pack(1, 500), ObjectKind::Pack).unwrap();
    drop(vault);
    let path = folder.path().join("ledger/journal/0000000000000000");
    let whole = fs::read(&path).unwrap();
    fs::write(&path, [whole.as_slice(), &whole[..100]].concat()).unwrap();
    drop(world.open());
    let mended = fs::read(&path).unwrap();
    assert!(mended.starts_with(&whole));

    // One entry replaced by another, with everything but the signature made to fit.
    let text = mended
        .windows(4)
        .position(|bytes| bytes == b"web1")
        .unwrap();
    let mut changed = mended.clone();
    changed[text] = b'v';
    fs::write(&path, &changed).unwrap();
    let index_path = folder.path().join("index");
    let outcome = world.open_with(Index::open(&index_path).unwrap());
    // What comes after the damage was acknowledged once, so the log must not go on from before it.
    assert!(
        matches!(outcome, Err(VaultError::Journal(_))),
        "a changed log was taken"
    );
}
