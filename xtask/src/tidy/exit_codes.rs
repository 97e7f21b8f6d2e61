//! `docs/exit-codes.md` lists the exit codes that the program has, and no others.

use std::collections::BTreeSet;

use super::Violation;

const PLACE: &str = "docs/exit-codes.md";

/// Compares the codes of the program with the first column of the table in the document.
pub fn check(program: &BTreeSet<u8>, document: &str) -> Vec<Violation> {
    let documented: BTreeSet<u8> = document.lines().filter_map(code_of_row).collect();
    let missing = program.difference(&documented);
    let extra = documented.difference(program);
    missing
        .map(|code| Violation::new(PLACE, format!("exit code {code} is not documented")))
        .chain(extra.map(|code| {
            let message = format!("exit code {code} is documented, but the program has none such");
            Violation::new(PLACE, message)
        }))
        .collect()
}

/// The code in a row such as `| 11 | the repository is locked |`.
fn code_of_row(line: &str) -> Option<u8> {
    let first = line.strip_prefix('|')?.split('|').next()?;
    first.trim().trim_matches('`').parse().ok()
}

/// The codes in the program's source: constants such as `LOCKED: u8 = 11;` and variants of an
/// enumeration such as `Locked = 11,`.
pub fn defined(source: &str) -> BTreeSet<u8> {
    source
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .filter_map(|line| line.split_once(" = "))
        .filter(|(name, _)| name.ends_with(": u8") || !name.trim().contains(' '))
        .filter_map(|(_, value)| value.trim_end_matches([';', ',']).parse().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENT: &str = "| code | meaning |\n|---|---|\n| 0 | done |\n| `11` | locked |\n";

    #[test]
    fn a_code_that_is_not_documented_is_found() {
        let program = defined("pub const DONE: u8 = 0;\npub const LOCKED: u8 = 11;\n");
        assert!(check(&program, DOCUMENT).is_empty());
        let more = defined("enum E {\n    A = 0,\n    B = 11,\n    C = 12,\n}\nlet other = 13;\n");
        assert_eq!(check(&more, DOCUMENT).len(), 1);
    }

    #[test]
    fn a_code_that_does_not_exist_is_found() {
        let program = defined("pub const DONE: u8 = 0;\n");
        assert_eq!(check(&program, DOCUMENT).len(), 1);
    }
}
