//! The API under `/v1`, through the client of `outlast-wire`, over TLS with a pinned key.

#![allow(clippy::unwrap_used)]

mod support;

use std::sync::Arc;
use std::thread::JoinHandle;

use outlast_custody::{ObjectList, Scope};
use outlast_object::{Id, ObjectKind, ObjectName, hash};
use outlast_vault::http::{Limits, Listen, Server, Stop, Tls, self_signed};
use outlast_vault::{Face, Vault};
use outlast_wire::api::Outcome;
use outlast_wire::batch::Batch;
use outlast_wire::{
    Invite, RestOptions, RestStore, Store, TlsOptions, VaultClient, WireError, locations,
};

use support::*;

struct Served {
    vault: Arc<Vault>,
    world: World,
    _folder: tempfile::TempDir,
    address: String,
    pin: [u8; 32],
    stop: Stop,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.stop.stop();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Served {
    /// A served vault with a config and a key in its repository.
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let world = World::new(&folder.path().join("vault"));
        let (vault, _) = world.initialised();
        let vault = Arc::new(vault);
        // The certificate has another name than the one by which the vault is reached.
        let identity = self_signed(&["elsewhere.example".to_owned()]).unwrap();
        let chain = identity.certificate_pem.as_bytes();
        let tls = Tls::from_pem(chain, identity.key_pem.as_bytes()).unwrap();
        let pin = tls.pin();
        let face = Arc::new(Face::new(Arc::clone(&vault)));
        let listen = Listen::Tcp("127.0.0.1:0".parse().unwrap());
        let server =
            Server::bind(&listen, Some(tls), Limits::default(), face, Arc::new(())).unwrap();
        let address = server.local_address().to_string();
        Self {
            vault,
            world,
            _folder: folder,
            address,
            pin,
            stop: server.stop_handle(),
            thread: Some(std::thread::spawn(|| server.run())),
        }
    }

    fn invite(&self, scopes: &[Scope]) -> Invite {
        let made = self.vault.add_token(&repository(), scopes, "test").unwrap();
        Invite {
            addresses: vec![self.address.clone()],
            pin: Some(self.pin),
            identity: self.vault.identity(),
            repository: repository(),
            token: made.token,
            secret: made.secret,
            scopes: scopes.to_vec(),
        }
    }

    fn client(&self, scopes: &[Scope]) -> VaultClient {
        client(&self.invite(scopes))
    }
}

fn client(invite: &Invite) -> VaultClient {
    VaultClient::new(invite, &invite.addresses[0], RestOptions::default()).unwrap()
}

/// A batch of packs, and their names.
fn packs(seeds: std::ops::Range<u64>, bytes: usize) -> (Batch, Vec<ObjectName>) {
    let mut batch = Batch::default();
    let mut names = Vec::new();
    for seed in seeds {
        let pack = pack(seed, bytes);
        let name = ObjectName::pack(hash(&pack));
        batch.push(&name, &pack).unwrap();
        names.push(name);
    }
    (batch, names)
}

fn snapshot(client: &VaultClient) -> Id {
    let bytes = [9; 200];
    let name = ObjectName::new(ObjectKind::Snapshot, hash(&bytes));
    let mut batch = Batch::default();
    batch.push(&name, &bytes).unwrap();
    client.put_batch(&batch).unwrap();
    name.id()
}

fn refused_with<T: std::fmt::Debug>(outcome: Result<T, WireError>) -> String {
    match outcome {
        Err(WireError::Refused { code, .. }) => code,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_backup_is_uploaded_sealed_and_proven() {
    let served = Served::new();
    let client = served.client(&[Scope::Append]);
    let before = client.checkpoint(&[]).unwrap();
    let (batch, mut names) = packs(0..300, 1000);
    let outcomes = client.put_batch(&batch).unwrap();
    assert!(
        outcomes
            .iter()
            .all(|outcome| matches!(outcome, Outcome::Stored { .. }))
    );
    // The same again is known.
    let outcomes = client.put_batch(&batch).unwrap();
    assert!(
        outcomes
            .iter()
            .all(|outcome| matches!(outcome, Outcome::Known { .. }))
    );
    let id = snapshot(&client);
    names.push(ObjectName::new(ObjectKind::Snapshot, id));
    names.push(ObjectName::CONFIG);
    let list = ObjectList::new(names.iter().copied());
    let found = client.presence(&list).unwrap();
    assert!(found.iter().all(Option::is_some));

    let sealed = client.seal(id, &list).unwrap();
    assert_eq!(sealed.verified.seal().objects, 302);
    // Asked for again it is the same seal.
    assert_eq!(client.seal(id, &list).unwrap().index, sealed.index);
    assert_eq!(
        client.receipt(sealed.index).unwrap().verified,
        sealed.verified
    );
    assert_eq!(client.sealed_list(&sealed).unwrap(), list);
    let rows = client.seals(Some(id)).unwrap();
    assert_eq!(rows.last().unwrap().index, sealed.index);
    assert_eq!(client.seals(None).unwrap(), rows);
    assert!(
        client
            .seals(Some(Id::from_bytes([0; 32])))
            .unwrap()
            .is_empty()
    );

    // The log continues what was seen before.
    let after = client.checkpoint(&[before.checkpoint()]).unwrap();
    assert!(after.checkpoint().size > before.checkpoint().size + 300);
    let state = client.state().unwrap();
    assert!(state.has_exact_seals && state.read_only.is_none());
    assert_eq!(state.scopes, [Scope::Append]);
    let rows = client.objects(ObjectKind::Pack).unwrap();
    assert_eq!(rows.len(), 300);
}

#[test]
fn a_seal_names_what_is_missing() {
    let served = Served::new();
    let client = served.client(&[Scope::Append]);
    let id = snapshot(&client);
    let missing = ObjectName::pack(Id::from_bytes([4; 32]));
    let snapshot = ObjectName::new(ObjectKind::Snapshot, id);
    let list = ObjectList::new([snapshot, ObjectName::CONFIG, missing]);
    assert_eq!(client.presence(&list).unwrap().iter().flatten().count(), 2);
    match client.seal(id, &list) {
        Err(WireError::Refused {
            status: 409,
            code,
            object,
            ..
        }) => assert_eq!(
            (code.as_str(), object),
            ("seal_incomplete", Some(missing.to_string()))
        ),
        other => panic!("{other:?}"),
    }
    // Without its own snapshot a list seals nothing.
    let without = ObjectList::new([ObjectName::CONFIG]);
    assert_eq!(refused_with(client.seal(id, &without)), "seal_incomplete");
}

#[test]
fn tokens_do_what_their_scopes_say_and_no_more() {
    let served = Served::new();
    let (batch, names) = packs(0..1, 1000);
    let list = ObjectList::new(names);
    for scope in [Scope::Restore, Scope::Pull, Scope::Enrol] {
        let client = served.client(&[scope]);
        assert_eq!(refused_with(client.put_batch(&batch)), "forbidden");
        assert_eq!(
            refused_with(client.seal(Id::from_bytes([1; 32]), &list)),
            "forbidden"
        );
        client.state().unwrap();
        client.presence(&list).unwrap();
    }
    let mut wrong = served.invite(&[Scope::Append]);
    wrong.secret = "0".repeat(64);
    assert_eq!(refused_with(client(&wrong).state()), "unauthorised");
    let revoked = served.invite(&[Scope::Append]);
    served.vault.revoke_token(revoked.token).unwrap();
    assert_eq!(
        refused_with(client(&revoked).put_batch(&batch)),
        "unauthorised"
    );
    let mut other = served.invite(&[Scope::Append]);
    other.repository = "web2".parse().unwrap();
    assert_eq!(refused_with(client(&other).state()), "forbidden");
}

#[test]
fn wrong_objects_in_a_batch_are_refused_one_by_one() {
    let served = Served::new();
    let client = served.client(&[Scope::Append]);
    let good = pack(1, 500);
    let mut batch = Batch::default();
    batch.push(&ObjectName::pack(hash(&good)), &good).unwrap();
    batch
        .push(&ObjectName::pack(Id::from_bytes([7; 32])), &good)
        .unwrap();
    let no_pack = [1, 2, 3];
    batch
        .push(&ObjectName::pack(hash(&no_pack)), &no_pack)
        .unwrap();
    let outcomes = client.put_batch(&batch).unwrap();
    assert!(matches!(outcomes[0], Outcome::Stored { .. }));
    for (outcome, code) in outcomes[1..].iter().zip(["hash", "shape"]) {
        let Outcome::Refused(error) = outcome else {
            panic!("{outcome:?}")
        };
        assert_eq!(error.code, code);
    }
    let rows = client.objects(ObjectKind::Pack).unwrap();
    assert_eq!(rows.len(), 1);
}

#[test]
fn only_the_pinned_vault_is_spoken_to() {
    let served = Served::new();
    let mut invite = served.invite(&[Scope::Append, Scope::Restore]);
    let store = |invite: &Invite| {
        let location = locations(invite, "").unwrap().remove(0);
        let options = RestOptions {
            tls: TlsOptions {
                pin: invite.pin,
                ..TlsOptions::default()
            },
            ..RestOptions::default()
        };
        RestStore::new(&location, &options).unwrap()
    };
    // The same connection carries restic's protocol.
    let config = store(&invite).read(&ObjectName::CONFIG).unwrap();
    assert_eq!(config.len(), 155);
    invite.pin = Some([0; 32]);
    let error = client(&invite).state().unwrap_err().to_string();
    assert!(error.contains("not the one that was pinned"), "{error}");
    let error = store(&invite).read(&ObjectName::CONFIG).unwrap_err();
    assert!(
        !error.is_retryable() && error.to_string().contains("pinned"),
        "{error}"
    );
    // Without a pin there is no TLS, so only this machine is reached.
    invite.pin = None;
    invite.addresses = vec!["vault.example:8484".to_owned()];
    assert!(
        locations(&invite, "")
            .unwrap_err()
            .to_string()
            .contains("no TLS")
    );
}

#[test]
fn receipts_of_another_identity_count_for_nothing() {
    let served = Served::new();
    let mut invite = served.invite(&[Scope::Append]);
    let honest = client(&invite);
    let id = snapshot(&honest);
    let name = ObjectName::new(ObjectKind::Snapshot, id);
    let list = ObjectList::new([name, ObjectName::CONFIG]);
    let other =
        outlast_log::SigningKey::from_seed("vault.example", outlast_log::KeyKind::Note, &[77; 32]);
    invite.identity = other.unwrap().verifier();
    let error = client(&invite).seal(id, &list).unwrap_err();
    assert!(matches!(error, WireError::Receipt(_)), "{error}");
    let error = client(&invite).checkpoint(&[]).unwrap_err();
    assert!(matches!(error, WireError::Unproven(_)), "{error}");
}

#[test]
fn a_log_that_lost_something_is_caught() {
    let served = Served::new();
    let client = served.client(&[Scope::Append]);
    let seen = client.checkpoint(&[]).unwrap().checkpoint().clone();
    // The vault is as honest as before, but what we remember is of another history.
    let mut other = seen.clone();
    other.root = outlast_log::leaf_hash(b"something that is gone");
    let (batch, _) = packs(0..3, 500);
    client.put_batch(&batch).unwrap();
    assert!(matches!(
        client.checkpoint(&[&seen, &other]),
        Err(WireError::LogForked { .. })
    ));
    let mut longer = seen.clone();
    longer.size += 1000;
    assert!(matches!(
        client.checkpoint(&[&longer]),
        Err(WireError::LogForked { .. })
    ));
    client.checkpoint(&[&seen]).unwrap();
}

#[test]
fn a_fresh_seal_is_made_when_the_old_one_holds_less() {
    let served = Served::new();
    let client = served.client(&[Scope::Append]);
    let id = snapshot(&client);
    let name = ObjectName::new(ObjectKind::Snapshot, id);
    let list = ObjectList::new([name, ObjectName::CONFIG]);
    let first = client.seal(id, &list).unwrap();
    served.world.clocks.pass(2 * DAY);
    let second = client.seal(id, &list).unwrap();
    assert!(second.index > first.index);
    assert!(second.verified.seal().until > first.verified.seal().until);
}
