//! The test vectors of the specification, which were made by another program than this one.

#![allow(clippy::unwrap_used)]

use outlast_object::{Id, ObjectKind, ObjectName};
use outlast_wire::batch::{Batch, BatchError, decode};
use outlast_wire::{Invite, InviteError};
use serde_json::Value;

const BATCHES: &str = include_str!("../../../spec/vectors/batch.json");
const INVITES: &str = include_str!("../../../spec/vectors/invite.json");

fn read(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

fn bytes(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().unwrap()).unwrap()
}

fn all<'a>(vectors: &'a Value, which: &str) -> &'a [Value] {
    let found = vectors[which].as_array().unwrap();
    assert!(!found.is_empty());
    found
}

#[test]
fn batches_are_those_of_the_specification() {
    let vectors = read(BATCHES);
    for vector in all(&vectors, "valid") {
        let encoded = bytes(&vector["encoded"]);
        let mut batch = Batch::default();
        let mut objects = Vec::new();
        for object in vector["objects"].as_array().unwrap() {
            let kind = ObjectKind::from_folder(object["kind"].as_str().unwrap()).unwrap();
            let id: Id = object["id"].as_str().unwrap().parse().unwrap();
            let content = bytes(&object["content"]);
            batch.push(&ObjectName::new(kind, id), &content).unwrap();
            objects.push((ObjectName::new(kind, id), content));
        }
        assert_eq!(batch.as_bytes(), encoded, "{}", vector["what"]);
        let found = decode(&encoded).unwrap();
        let found: Vec<_> = found
            .into_iter()
            .map(|(name, content)| (name, content.to_vec()))
            .collect();
        assert_eq!(found, objects, "{}", vector["what"]);
    }
    for vector in all(&vectors, "invalid") {
        let error = decode(&bytes(&vector["encoded"])).unwrap_err();
        let word = match error {
            BatchError::TooLong => "too_long",
            BatchError::TooMany => "too_many",
            BatchError::ObjectTooLong => "object_too_long",
            BatchError::Kind => "kind",
            BatchError::Malformed => "malformed",
        };
        assert_eq!(vector["error"], word, "{}", vector["what"]);
    }
}

#[test]
fn invites_are_those_of_the_specification() {
    let vectors = read(INVITES);
    for vector in all(&vectors, "valid") {
        let (line, said) = (vector["line"].as_str().unwrap(), &vector["invite"]);
        let what = vector["what"].as_str().unwrap();
        let invite: Invite = line
            .parse()
            .unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(invite.encode(), line, "{what}");
        assert_eq!(serde_json::json!(invite.addresses), said["at"], "{what}");
        let pin = invite.pin.map(hex::encode);
        assert_eq!(pin.as_deref(), said["pin"].as_str(), "{what}");
        assert_eq!(invite.identity.to_string(), said["id"], "{what}");
        assert_eq!(invite.repository.as_str(), said["repo"], "{what}");
        assert_eq!(invite.token.to_string(), said["token"], "{what}");
        assert_eq!(invite.secret, said["secret"], "{what}");
        assert_eq!(serde_json::json!(invite.scopes), said["scopes"], "{what}");
    }
    for vector in all(&vectors, "invalid") {
        let error = vector["line"]
            .as_str()
            .unwrap()
            .parse::<Invite>()
            .unwrap_err();
        let word = match error {
            InviteError::NoInvite => "no_invite",
            InviteError::Version => "version",
            InviteError::NotWhole => "not_whole",
            InviteError::Content(_) => "content",
        };
        assert_eq!(vector["error"], word, "{}", vector["what"]);
    }
}
