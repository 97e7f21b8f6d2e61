//! The licences of everything that we use.
//!
//! Manifests hold SPDX expressions: names joined by `AND`, `OR`, `WITH` and parentheses, and in old
//! ones `/` for `OR`.

use serde::Deserialize;

use super::Violation;
use super::metadata::Dependency;

/// Nesting of parentheses beyond which an expression is refused.
const DEPTH_MAX: usize = 16;

/// Every dependency must be usable under allowed licences alone.
pub fn check(dependencies: &[Dependency], allowed: &[&str]) -> Vec<Violation> {
    let mut violations = Vec::new();
    for dependency in dependencies {
        let place = format!("{} {}", dependency.name, dependency.version);
        let Some(expression) = &dependency.licence else {
            violations.push(Violation::new(place, "gives no licence expression"));
            continue;
        };
        match satisfied(expression, allowed) {
            Some(true) => {}
            Some(false) => violations.push(Violation::new(
                place,
                format!("its licence `{expression}` is not on the list of allowed ones"),
            )),
            None => violations.push(Violation::new(
                place,
                format!("its licence `{expression}` cannot be understood"),
            )),
        }
    }
    violations
}

#[derive(Deserialize)]
struct DenyFile {
    licenses: DenyLicences,
}

#[derive(Deserialize)]
struct DenyLicences {
    allow: Vec<String>,
}

/// `deny.toml` is for those who use cargo-deny; it must say the same as our list.
pub fn check_deny_file(text: &str, allowed: &[&str]) -> Vec<Violation> {
    let place = "deny.toml";
    let parsed: DenyFile = match toml::from_str(text) {
        Ok(parsed) => parsed,
        Err(error) => return vec![Violation::new(place, error.to_string())],
    };
    let mut theirs: Vec<&str> = parsed.licenses.allow.iter().map(String::as_str).collect();
    let mut ours = allowed.to_vec();
    theirs.sort_unstable();
    ours.sort_unstable();
    if theirs == ours {
        return Vec::new();
    }
    let missing = ours.iter().filter(|one| !theirs.contains(one));
    let extra = theirs.iter().filter(|one| !ours.contains(one));
    vec![Violation::new(
        place,
        format!(
            "its licences differ from tidy's table: missing {:?}, too many {:?}",
            missing.collect::<Vec<_>>(),
            extra.collect::<Vec<_>>()
        ),
    )]
}

/// Whether the allowed licences satisfy the expression; `None` if it cannot be understood.
fn satisfied(expression: &str, allowed: &[&str]) -> Option<bool> {
    let spaced = expression
        .replace('(', " ( ")
        .replace(')', " ) ")
        .replace('/', " OR ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut parser = Parser {
        words: &words,
        next: 0,
        depth: 0,
        allowed,
    };
    let result = parser.alternatives()?;
    (parser.next == words.len()).then_some(result)
}

struct Parser<'a> {
    words: &'a [&'a str],
    next: usize,
    depth: usize,
    allowed: &'a [&'a str],
}

impl<'a> Parser<'a> {
    fn take(&mut self, word: &str) -> bool {
        let found = self.words.get(self.next) == Some(&word);
        self.next += usize::from(found);
        found
    }

    fn alternatives(&mut self) -> Option<bool> {
        let mut result = self.requirements()?;
        while self.take("OR") {
            result |= self.requirements()?;
        }
        Some(result)
    }

    fn requirements(&mut self) -> Option<bool> {
        let mut result = self.licence()?;
        while self.take("AND") {
            result &= self.licence()?;
        }
        Some(result)
    }

    fn licence(&mut self) -> Option<bool> {
        if self.take("(") {
            self.depth += 1;
            if self.depth > DEPTH_MAX {
                return None;
            }
            let result = self.alternatives()?;
            self.depth -= 1;
            return self.take(")").then_some(result);
        }
        let name = self.name()?;
        if self.take("WITH") {
            let full = format!("{name} WITH {}", self.name()?);
            return Some(self.allowed.contains(&full.as_str()));
        }
        Some(self.allowed.contains(&name))
    }

    fn name(&mut self) -> Option<&'a str> {
        let word = *self.words.get(self.next)?;
        self.next += 1;
        let is_operator = matches!(word, "AND" | "OR" | "WITH" | "(" | ")");
        (!is_operator).then_some(word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALLOWED: &[&str] = &["MIT", "Apache-2.0", "Apache-2.0 WITH LLVM-exception"];

    #[test]
    fn expressions_are_understood() {
        for (expression, expected) in [
            ("MIT", Some(true)),
            ("GPL-3.0-only", Some(false)),
            ("MIT OR GPL-3.0-only", Some(true)),
            ("MIT/GPL-3.0", Some(true)),
            ("MIT AND GPL-3.0-only", Some(false)),
            ("GPL-2.0 OR MIT AND Apache-2.0", Some(true)),
            ("(MIT OR GPL-2.0) AND LGPL-3.0", Some(false)),
            ("(MIT OR Apache-2.0) AND MIT", Some(true)),
            ("Apache-2.0 WITH LLVM-exception", Some(true)),
            ("MIT WITH Other-exception", Some(false)),
            ("MIT OR", None),
            ("(MIT", None),
            ("MIT MIT", None),
            ("AND", None),
            ("", None),
        ] {
            assert_eq!(satisfied(expression, ALLOWED), expected, "{expression}");
        }
        assert_eq!(satisfied(&"(".repeat(100_000), ALLOWED), None);
    }

    #[test]
    fn a_dependency_with_another_licence_is_found() {
        let dependency = |licence: Option<&str>| Dependency {
            name: "some".to_string(),
            version: "1.0.0".to_string(),
            licence: licence.map(str::to_string),
        };
        assert!(check(&[dependency(Some("MIT"))], ALLOWED).is_empty());
        assert_eq!(check(&[dependency(Some("AGPL-3.0"))], ALLOWED).len(), 1);
        assert_eq!(check(&[dependency(None)], ALLOWED).len(), 1);
        assert_eq!(check(&[dependency(Some("MIT AND"))], ALLOWED).len(), 1);
    }

    #[test]
    fn a_deny_file_that_differs_is_found() {
        let same = "[licenses]\nallow = [\"Apache-2.0\", \"MIT\"]\n";
        assert!(check_deny_file(same, &["MIT", "Apache-2.0"]).is_empty());
        assert_eq!(check_deny_file(same, &["MIT"]).len(), 1);
        assert_eq!(check_deny_file(same, ALLOWED).len(), 1);
        assert_eq!(check_deny_file("[licenses]\n", ALLOWED).len(), 1);
    }
}
