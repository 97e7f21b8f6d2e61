//! The workspace manifest: every dependency says why it is there.

use super::Violation;

/// Every line of `[workspace.dependencies]` that is not a crate of ours ends with a reason.
pub fn check(text: &str) -> Vec<Violation> {
    let mut violations = Vec::new();
    let mut inside = false;
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.starts_with('[') && !line.contains(" = ") {
            inside = line == "[workspace.dependencies]";
            continue;
        }
        if !inside || line.is_empty() || line.starts_with('#') || line.contains("path = ") {
            continue;
        }
        let reason = line.rsplit_once('#').map(|(_, reason)| reason.trim());
        if reason.is_none_or(str::is_empty) {
            violations.push(Violation::new(
                format!("Cargo.toml:{}", index + 1),
                "a dependency without its reason: add `# why` at the end of the line",
            ));
        }
    }
    violations
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dependency_without_a_reason_is_found() {
        let manifest = "\
[workspace.dependencies]
ours = { path = \"crates/ours\" }

# A heading is not a reason.
one = \"1\" # because
two = { version = \"2\" }

[profile.dev]
debug = true
";
        let found = check(manifest);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].place, "Cargo.toml:6");
    }
}
