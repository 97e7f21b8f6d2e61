//! The invariants in `ARCHITECTURE.md` name the tests that enforce them, and those exist.

use super::Violation;
use crate::workspace::SourceFile;

/// The document with the table.
const DOCUMENT: &str = "ARCHITECTURE.md";

/// The heading above it.
const HEADING: &str = "## Invariants";

/// Every test that the table names must be a function of some source.
pub fn check(files: &[SourceFile]) -> Vec<Violation> {
    let Some(document) = files.iter().find(|file| file.path == DOCUMENT) else {
        return vec![Violation::new(DOCUMENT, "is missing")];
    };
    let mut violations = Vec::new();
    let mut rows = 0;
    for (index, line) in section(&document.text) {
        let Some(tests) = named_tests(line) else {
            continue;
        };
        rows += 1;
        if tests.is_empty() {
            violations.push(Violation::at(
                document,
                index,
                "an invariant without a test",
            ));
        }
        for test in tests {
            let declared = format!("fn {test}(");
            let exists = files
                .iter()
                .any(|file| file.has_extension("rs") && file.text.contains(&declared));
            if !exists {
                let message = format!("there is no test `{test}`");
                violations.push(Violation::at(document, index, message));
            }
        }
    }
    if rows == 0 {
        violations.push(Violation::new(DOCUMENT, "has no table of invariants"));
    }
    violations
}

/// The lines below the heading, up to the next one.
fn section(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .enumerate()
        .skip_while(|(_, line)| *line != HEADING)
        .skip(1)
        .take_while(|(_, line)| !line.starts_with("## "))
}

/// The names in backticks in the last column; `None` if the line is no row of data.
fn named_tests(line: &str) -> Option<Vec<&str>> {
    let cells: Vec<&str> = line
        .strip_prefix('|')?
        .strip_suffix('|')?
        .split('|')
        .collect();
    let last = cells.last()?.trim();
    if last == "test" || last.starts_with("---") {
        return None;
    }
    Some(last.split('`').skip(1).step_by(2).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(rows: &str) -> Vec<Violation> {
        let text =
            format!("# A\n\n## Invariants\n\n| invariant | test |\n|---|---|\n{rows}\n## B\n");
        check(&[
            SourceFile::new(DOCUMENT, &text),
            SourceFile::new("crates/some/tests/some.rs", "#[test]\nfn it_holds() {}\n"),
        ])
    }

    #[test]
    fn named_tests_that_exist_pass() {
        assert!(found("| it holds | `it_holds` |\n").is_empty());
    }

    #[test]
    fn missing_tests_are_found() {
        assert_eq!(found("| it holds | `it_is_said_to_hold` |\n").len(), 1);
        assert_eq!(found("| it holds | believe me |\n").len(), 1);
        assert_eq!(found("").len(), 1);
        assert_eq!(check(&[]).len(), 1);
    }
}
