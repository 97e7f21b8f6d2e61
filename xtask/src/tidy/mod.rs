//! `cargo xtask tidy`: what the compiler does not check.
//!
//! Every check is a function from data to violations, so that each has a test in which a planted
//! violation is found. [`check_all`] runs them over this repository, and a test runs that.

mod closures;
mod duplicates;
mod edges;
mod exit_codes;
mod habits;
mod invariants;
mod licences;
mod links;
mod manifest;
mod metadata;
mod purity;
mod scan;
mod tables;

use std::fmt;

use crate::workspace::{self, SourceFile};

pub use exit_codes::{check as check_exit_codes, defined as defined_exit_codes};

/// Something that is not as agreed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Where: a path, with a line if there is one, or a crate.
    pub place: String,
    /// What is wrong, and what to do.
    pub message: String,
}

impl Violation {
    fn new(place: impl Into<String>, message: impl Into<String>) -> Self {
        Violation {
            place: place.into(),
            message: message.into(),
        }
    }

    fn at(file: &SourceFile, line_index: usize, message: impl Into<String>) -> Self {
        Violation::new(format!("{}:{}", file.path, line_index + 1), message)
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.place, self.message)
    }
}

/// Runs every check over this repository.
pub fn check_all() -> Result<Vec<Violation>, String> {
    let files = workspace::files()?;
    let text_of = |path: &str| {
        files
            .iter()
            .find(|file| file.path == path)
            .map(|file| file.text.as_str())
            .ok_or_else(|| format!("{path} is missing"))
    };
    let metadata = metadata::read()?;

    let mut violations = Vec::new();
    violations.extend(edges::check_table(tables::LAYERS));
    violations.extend(edges::check(&metadata.workspace_crates(), tables::LAYERS));
    for rule in tables::CLOSURES {
        if metadata.has_workspace_crate(rule.crate_name) {
            let graph = closures::read(rule.crate_name)?;
            violations.extend(closures::check(rule, &graph));
        }
    }
    violations.extend(licences::check(
        &metadata.dependencies(),
        tables::LICENCES_ALLOWED,
    ));
    violations.extend(licences::check_deny_file(
        text_of("deny.toml")?,
        tables::LICENCES_ALLOWED,
    ));
    violations.extend(duplicates::check(
        &metadata.dependencies(),
        tables::DUPLICATES_KNOWN,
    ));
    violations.extend(manifest::check(text_of("Cargo.toml")?));
    violations.extend(invariants::check(&files));
    for file in &files {
        violations.extend(habits::check(file));
        violations.extend(purity::check(file));
        if file.has_extension("md") {
            violations.extend(links::check(file, &files, &workspace::root()));
        }
    }
    Ok(violations)
}

/// The task: prints the violations, and fails if there are any.
pub fn run() -> Result<(), String> {
    let violations = check_all()?;
    for violation in &violations {
        eprintln!("{violation}");
    }
    match violations.len() {
        0 => {
            println!("tidy: everything is as agreed");
            Ok(())
        }
        count => Err(format!("tidy: {count} violations")),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn this_repository_is_tidy() {
        let violations = super::check_all().expect("the checks can run");
        let listed: Vec<String> = violations.iter().map(ToString::to_string).collect();
        assert!(listed.is_empty(), "\n{}", listed.join("\n"));
    }
}
