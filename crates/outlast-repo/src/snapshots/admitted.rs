//! `latest` where it is known when snapshots were admitted: the last one that arrived, whatever time
//! it claims.

use outlast_format::Time;
use outlast_object::Id;

use super::select::{select_latest, warn};
use super::{
    Selected, SelectionError, SelectionWarning, SnapshotFilter, SnapshotRequest, StoredSnapshot,
    find_snapshot, sort_newest_first,
};
use crate::AdmissionFacts;

/// The snapshot that was admitted last of those that `filter` lets through. Those dated in the future
/// are passed over all the same, and so are those of which it is not known when they were admitted.
///
/// Where nothing is known of snapshots at all, this is [`select_latest`](super::select_latest).
///
/// # Errors
/// As of [`select_latest`](super::select_latest).
pub fn select_latest_admitted<'a>(
    list: &[&'a StoredSnapshot],
    filter: &SnapshotFilter,
    now: Time,
    facts: &AdmissionFacts,
) -> Result<Selected<'a>, SelectionError> {
    let matching = list
        .iter()
        .filter(|stored| filter.matches(&stored.snapshot));
    let mut present: Vec<&StoredSnapshot> = Vec::new();
    let mut future: Vec<&StoredSnapshot> = Vec::new();
    for stored in matching {
        if stored.is_future(now) {
            future.push(stored);
        } else {
            present.push(stored);
        }
    }
    let (mut known, mut unknown): (Vec<_>, Vec<_>) = present
        .into_iter()
        .partition(|stored| facts.of_snapshot(stored).is_some());
    // By position, and where a rewritten snapshot has its original's, by time.
    sort_newest_first(&mut known);
    let position = |stored: &&StoredSnapshot| facts.of_snapshot(stored).map(|fact| fact.position);
    known.sort_by_key(|stored| std::cmp::Reverse(position(stored)));
    let Some(snapshot) = known.first().copied() else {
        let mut selected = select_latest(list, filter, now)?;
        if !facts.is_empty() {
            selected.warnings.extend(not_admitted(&mut unknown));
        }
        return Ok(selected);
    };
    sort_newest_first(&mut future);
    let mut warnings = warn(future.iter().map(|s| (s.id, s.snapshot.time)).collect());
    warnings.extend(not_admitted(&mut unknown));
    Ok(Selected { snapshot, warnings })
}

fn not_admitted(unknown: &mut [&StoredSnapshot]) -> Option<SelectionWarning> {
    sort_newest_first(unknown);
    let snapshots: Vec<(Id, Time)> = unknown.iter().map(|s| (s.id, s.snapshot.time)).collect();
    (!snapshots.is_empty()).then_some(SelectionWarning::NotAdmitted { snapshots })
}

/// [`resolve_snapshot`](super::resolve_snapshot), in which `latest` is the last one admitted.
///
/// # Errors
/// As of [`resolve_snapshot`](super::resolve_snapshot).
pub fn resolve_admitted<'a>(
    list: &[&'a StoredSnapshot],
    request: &SnapshotRequest,
    filter: &SnapshotFilter,
    now: Time,
    facts: &AdmissionFacts,
) -> Result<Selected<'a>, SelectionError> {
    if request.is_latest() {
        return select_latest_admitted(list, filter, now, facts);
    }
    Ok(Selected {
        snapshot: find_snapshot(list, &request.snapshot)?,
        warnings: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use outlast_object::{ObjectKind, ObjectName};

    use super::*;
    use crate::Admitted;
    use crate::snapshots::testing::stored;

    /// Snapshots of these times, admitted in this order.
    fn admitted(times: &[&str]) -> (Vec<StoredSnapshot>, AdmissionFacts) {
        let list: Vec<StoredSnapshot> = times.iter().map(|time| stored(time, "h")).collect();
        let fact = |(position, stored): (usize, &StoredSnapshot)| {
            let admitted = Admitted {
                position: position as u64,
                time: Time::utc(1_760_000_000 + position as i64, 0),
            };
            (ObjectName::new(ObjectKind::Snapshot, stored.id), admitted)
        };
        let facts = AdmissionFacts::new(list.iter().enumerate().map(fact));
        (list, facts)
    }

    fn latest<'a>(list: &'a [StoredSnapshot], facts: &AdmissionFacts) -> Selected<'a> {
        let now = "2026-02-01T12:00:00Z".parse().unwrap();
        let list: Vec<&StoredSnapshot> = list.iter().collect();
        let filter = SnapshotFilter::default();
        resolve_admitted(&list, &"latest".into(), &filter, now, facts).unwrap()
    }

    #[test]
    fn the_last_admitted_is_latest_whatever_times_are_claimed() {
        // The second claims to be newer than the third, and the last to come from 2095.
        let (list, facts) = admitted(&[
            "2026-01-01T00:00:00Z",
            "2026-01-31T00:00:00Z",
            "2026-01-02T00:00:00Z",
            "2095-01-01T00:00:00Z",
        ]);
        let selected = latest(&list, &facts);
        assert_eq!(selected.snapshot, &list[2]);
        assert!(matches!(
            selected.warnings.as_slice(),
            [SelectionWarning::FutureDated { .. }]
        ));
        // Without facts the claimed times decide.
        let selected = latest(&list, &AdmissionFacts::default());
        assert_eq!(selected.snapshot, &list[1]);
        assert_eq!(selected.warnings.len(), 1);
    }

    #[test]
    fn what_was_rewritten_later_is_no_newer_for_that() {
        let (mut list, facts) = admitted(&[
            "2026-01-01T00:00:00Z",
            "2026-01-02T00:00:00Z",
            "2026-01-01T00:00:01Z",
        ]);
        assert_eq!(latest(&list, &facts).snapshot, &list[2]);
        list[2].snapshot.original = Some(list[0].id);
        assert_eq!(latest(&list, &facts).snapshot, &list[1]);
    }

    #[test]
    fn snapshots_that_nobody_admitted_are_passed_over_by_name() {
        let (mut list, facts) = admitted(&["2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"]);
        list.push(stored("2026-01-03T00:00:00Z", "h"));
        let selected = latest(&list, &facts);
        assert_eq!(selected.snapshot, &list[1]);
        let text = selected.warnings[0].to_string();
        assert!(text.contains(&list[2].id.short()), "{text}");
        // If there is nothing else, it is taken with a warning.
        let alone = &list[2..];
        let selected = latest(alone, &facts);
        assert_eq!(selected.snapshot, &list[2]);
        assert_eq!(selected.warnings.len(), 1);
    }
}
