//! Crates that are there in several incompatible versions.

use std::collections::{BTreeMap, BTreeSet};

use super::Violation;
use super::metadata::Dependency;

/// Reports crates in several incompatible versions that are not on the known list, and entries of
/// the list that are no longer needed.
pub fn check(dependencies: &[Dependency], known: &[(&str, &str)]) -> Vec<Violation> {
    let mut versions: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for dependency in dependencies {
        versions
            .entry(&dependency.name)
            .or_default()
            .insert(compatible_part(&dependency.version));
    }
    let mut violations = Vec::new();
    for (name, found) in &versions {
        let is_known = known.iter().any(|(known, _)| known == name);
        if found.len() > 1 && !is_known {
            let message = format!("is used in incompatible versions: {found:?}");
            violations.push(Violation::new(*name, message));
        }
    }
    for (name, _) in known {
        if versions.get(name).is_none_or(|found| found.len() < 2) {
            let message = "is listed as a known duplicate, but is none any more";
            violations.push(Violation::new(*name, message));
        }
    }
    violations
}

/// The part of a version that must be equal for two to be compatible: `1` of 1.2.3, `0.4` of 0.4.5.
fn compatible_part(version: &str) -> String {
    let mut parts = version.split('.');
    let major = parts.next().unwrap_or_default();
    match (major, parts.next()) {
        ("0", Some("0")) => version.to_string(),
        ("0", Some(minor)) => format!("0.{minor}"),
        _ => major.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dependency(name: &str, version: &str) -> Dependency {
        Dependency {
            name: name.to_string(),
            version: version.to_string(),
            licence: None,
        }
    }

    #[test]
    fn incompatible_versions_are_found() {
        let all = [dependency("one", "1.2.3"), dependency("one", "2.0.0")];
        assert_eq!(check(&all, &[]).len(), 1);
        assert!(check(&all, &[("one", "why")]).is_empty());
        let zero = [dependency("one", "0.2.3"), dependency("one", "0.3.0")];
        assert_eq!(check(&zero, &[]).len(), 1);
    }

    #[test]
    fn compatible_versions_are_fine() {
        let all = [dependency("one", "1.2.3"), dependency("one", "1.9.0")];
        assert!(check(&all, &[]).is_empty());
    }

    #[test]
    fn a_list_that_is_out_of_date_is_found() {
        assert_eq!(check(&[], &[("gone", "why")]).len(), 1);
    }
}
