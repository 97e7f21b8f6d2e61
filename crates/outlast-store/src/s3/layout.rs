//! Where objects are within a bucket: as restic keeps them.

use outlast_object::{Id, ObjectKind, ObjectName};

/// The key of an object below `prefix`, which has no slash at its end.
pub(super) fn key_of(prefix: &str, name: &ObjectName) -> String {
    let id = name.id().to_string();
    let place = match name.kind() {
        ObjectKind::Config => "config".to_owned(),
        ObjectKind::Pack => format!("data/{}/{id}", id.get(..2).unwrap_or("")),
        kind => format!("{}/{id}", kind.folder()),
    };
    if prefix.is_empty() {
        place
    } else {
        format!("{prefix}/{place}")
    }
}

/// The beginning of the keys of all objects of a kind.
pub(super) fn prefix_of(prefix: &str, kind: ObjectKind) -> String {
    if prefix.is_empty() {
        format!("{}/", kind.folder())
    } else {
        format!("{prefix}/{}/", kind.folder())
    }
}

/// The object of a kind whose key this is, if it is one.
pub(super) fn name_of(prefix: &str, kind: ObjectKind, key: &str) -> Option<ObjectName> {
    let id: Id = key.rsplit('/').next()?.parse().ok()?;
    let name = ObjectName::new(kind, id);
    (key_of(prefix, &name) == key).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_lead_back() {
        let id = Id::from_bytes([0xab; 32]);
        for prefix in ["", "a/b"] {
            for kind in ObjectKind::ALL {
                let name = ObjectName::new(kind, id);
                let key = key_of(prefix, &name);
                if kind != ObjectKind::Config {
                    assert!(key.starts_with(&prefix_of(prefix, kind)));
                    assert_eq!(name_of(prefix, kind, &key), Some(name));
                    assert_eq!(name_of(prefix, kind, &format!("{key}x")), None);
                }
            }
        }
        let hex = id.to_string();
        assert_eq!(
            key_of("p", &ObjectName::pack(id)),
            format!("p/data/ab/{hex}")
        );
        assert_eq!(
            name_of("p", ObjectKind::Pack, &format!("p/data/ac/{hex}")),
            None
        );
        assert_eq!(key_of("p", &ObjectName::CONFIG), "p/config");
    }
}
