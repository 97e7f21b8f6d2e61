//! When a store admitted which object, as it or its log says: plain data, given by the caller.
//!
//! What a snapshot says of its time is what some writer claimed. A vault's log says in which order
//! things arrived, by a clock that no writer commands.

use std::collections::HashMap;

use outlast_format::Time;
use outlast_object::{Id, ObjectKind, ObjectName};

use crate::{Admission, StoredSnapshot};

/// The moment at which a store took an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Admitted {
    /// The position in the store's log; later admissions have larger ones.
    pub position: u64,
    /// The time by the store's clock.
    pub time: Time,
}

/// What was admitted from here on is not relied on: set after an incident, to where things were still
/// good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrustHorizon {
    /// The first position that is not trusted.
    Position(u64),
    /// The first moment that is not trusted.
    Time(Time),
}

/// When which objects were admitted, as far as the caller knows, and what of it counts.
#[derive(Debug, Clone, Default)]
pub struct AdmissionFacts {
    admitted: HashMap<ObjectName, Admitted>,
    kinds: Vec<ObjectKind>,
    horizon: Option<TrustHorizon>,
}

impl AdmissionFacts {
    /// These facts. Of several for one object the first admission counts.
    pub fn new(facts: impl IntoIterator<Item = (ObjectName, Admitted)>) -> Self {
        let mut admitted: HashMap<ObjectName, Admitted> = HashMap::new();
        let mut kinds = Vec::new();
        for (name, fact) in facts {
            if !kinds.contains(&name.kind()) {
                kinds.push(name.kind());
            }
            let known = admitted.entry(name).or_insert(fact);
            if fact.position < known.position {
                *known = fact;
            }
        }
        Self {
            admitted,
            kinds,
            horizon: None,
        }
    }

    /// The same, trusting only what was admitted before the horizon.
    #[must_use]
    pub fn with_horizon(self, horizon: TrustHorizon) -> Self {
        Self {
            horizon: Some(horizon),
            ..self
        }
    }

    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.admitted.is_empty()
    }

    /// The horizon, if there is one.
    pub fn horizon(&self) -> Option<TrustHorizon> {
        self.horizon
    }

    /// When an object was admitted.
    pub fn of(&self, name: &ObjectName) -> Option<Admitted> {
        self.admitted.get(name).copied()
    }

    /// Whether anything is known of objects of this kind.
    pub fn knows(&self, kind: ObjectKind) -> bool {
        self.kinds.contains(&kind)
    }

    /// Whether an object was admitted, and before the horizon.
    pub fn is_trusted(&self, name: &ObjectName) -> bool {
        self.of(name).is_some_and(|admitted| match self.horizon {
            None => true,
            Some(TrustHorizon::Position(first)) => admitted.position < first,
            Some(TrustHorizon::Time(first)) => admitted.time.instant() < first.instant(),
        })
    }

    /// When a snapshot was admitted; for one that was rewritten, when its original was: what is in it
    /// is no newer for that.
    pub(crate) fn of_snapshot(&self, stored: &StoredSnapshot) -> Option<Admitted> {
        let of = |id: Id| self.of(&ObjectName::new(ObjectKind::Snapshot, id));
        let own = of(stored.id)?;
        let original = stored.snapshot.original.and_then(of);
        Some(match original {
            Some(original) if original.position < own.position => original,
            _ => own,
        })
    }

    /// The same facts about snapshots, as the forget guard takes them.
    pub fn of_snapshots(&self) -> Vec<Admission> {
        let snapshots = self.admitted.iter();
        snapshots
            .filter(|(name, _)| name.kind() == ObjectKind::Snapshot)
            .map(|(name, admitted)| Admission {
                id: name.id(),
                seen: admitted.time,
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use outlast_object::hash;

    use super::*;

    #[test]
    fn the_first_admission_counts_and_the_horizon_is_the_first_moment_that_does_not() {
        let name = ObjectName::pack(hash(b"pack"));
        let at = |position: u64| Admitted {
            position,
            time: Time::utc(1000 + position as i64, 0),
        };
        let facts = AdmissionFacts::new([(name, at(7)), (name, at(5)), (name, at(9))]);
        assert_eq!(facts.of(&name), Some(at(5)));
        assert!(facts.is_trusted(&name));
        assert!(!facts.is_trusted(&ObjectName::pack(hash(b"other"))));
        assert!(facts.knows(ObjectKind::Pack) && !facts.knows(ObjectKind::Snapshot));
        for (horizon, trusted) in [
            (TrustHorizon::Position(5), false),
            (TrustHorizon::Position(6), true),
            (TrustHorizon::Time(Time::utc(1005, 0)), false),
            (TrustHorizon::Time(Time::utc(1005, 1)), true),
        ] {
            let facts = facts.clone().with_horizon(horizon);
            assert_eq!(facts.is_trusted(&name), trusted, "{horizon:?}");
        }
    }
}
