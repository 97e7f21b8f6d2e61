//! Habits of the sources and documents.

use super::Violation;
use super::scan::{self, Views};
use crate::workspace::SourceFile;

/// A file longer than this hides a second thing inside.
const LINES_MAX: usize = 600;

/// The one crate with code that the compiler cannot check.
const CRATE_UNSAFE: &str = "crates/outlast-kernels/src/";

/// Crates that talk to a person. All others are libraries and print nothing.
const CRATES_PRINTING: &[&str] = &[
    "crates/outlast-cli/",
    "crates/outlast-vault/src/bin/",
    "crates/outlast-sim/src/main.rs",
    "xtask/",
    "fuzz/",
    "crates/outlast-format/examples/",
];

/// Code that says that it is not finished, or that a test does not run.
const UNFINISHED_CODE: &[&str] = &["todo!", "unimplemented!", "dbg!", "#[ignore"];

/// Words in comments and documents that say so.
const UNFINISHED_WORDS: &[&str] = &[
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("XX", "X"),
];

/// Text that would tell how or where this was made instead of what it does. Readers have neither
/// that machine nor those papers.
const FOREIGN_TEXT: &[&str] = &[
    concat!("/wo", "rk/"),
    concat!("/tmp/", "sid"),
    concat!("rustic-", "tools"),
    concat!("issue ", "#"),
    concat!("DESIGN", ".md"),
    concat!("STYLE", ".md"),
    concat!("BRIEF", ".md"),
];

/// All checks that look at one file alone.
pub fn check(file: &SourceFile) -> Vec<Violation> {
    let mut violations = check_text(file);
    if file.has_extension("rs") {
        let views = scan::split(&file.text);
        violations.extend(check_opening(file));
        violations.extend(check_code(file, &views));
        violations.extend(check_printing(file, &views));
    }
    violations
}

fn check_text(file: &SourceFile) -> Vec<Violation> {
    let mut violations = Vec::new();
    for (index, line) in file.text.lines().enumerate() {
        if line.contains('\t') {
            violations.push(Violation::at(file, index, "a tab"));
        }
        if line.ends_with(' ') || line.ends_with('\r') {
            violations.push(Violation::at(file, index, "blanks at the end of the line"));
        }
        for text in FOREIGN_TEXT {
            if line.contains(text) {
                let message = format!("`{text}` means nothing to a reader of this repository");
                violations.push(Violation::at(file, index, message));
            }
        }
    }
    if !file.text.is_empty() && !file.text.ends_with('\n') {
        let message = "the last line does not end";
        violations.push(Violation::new(&file.path, message));
    }
    if file.has_extension("md") {
        for word in UNFINISHED_WORDS {
            for index in scan::lines_with_word(&file.text, word) {
                violations.push(Violation::at(file, index, format!("`{word}`: finish it")));
            }
        }
    }
    violations
}

fn check_opening(file: &SourceFile) -> Vec<Violation> {
    let mut violations = Vec::new();
    let opening: Vec<&str> = file
        .text
        .lines()
        .take_while(|line| line.starts_with("//!"))
        .collect();
    let says_something = opening
        .iter()
        .any(|line| line.trim().len() > "//! x.".len());
    if !says_something {
        let message = "does not open with `//!` and what the file is for";
        violations.push(Violation::new(&file.path, message));
    }
    let is_library = file.path.starts_with("crates/") && file.path.ends_with("/src/lib.rs");
    if is_library && !opening.iter().any(|line| line.contains("nvariant")) {
        let message = "opens without the invariants of the crate";
        violations.push(Violation::new(&file.path, message));
    }
    let count = file.text.lines().count();
    if count > LINES_MAX {
        let message = format!("has {count} lines, {LINES_MAX} are the limit: split it");
        violations.push(Violation::new(&file.path, message));
    }
    violations
}

fn check_code(file: &SourceFile, views: &Views) -> Vec<Violation> {
    let mut violations = Vec::new();
    for text in UNFINISHED_CODE {
        for index in scan::lines_with_word(&views.code, text) {
            violations.push(Violation::at(file, index, format!("`{text}`: finish it")));
        }
    }
    for word in UNFINISHED_WORDS {
        for index in scan::lines_with_word(&views.comments, word) {
            violations.push(Violation::at(file, index, format!("`{word}`: finish it")));
        }
    }
    let may_be_unsafe = file.path.starts_with(CRATE_UNSAFE);
    let unsafe_lines = scan::lines_with_word(&views.code, "unsafe");
    for index in unsafe_lines.filter(|_| !may_be_unsafe) {
        violations.push(Violation::at(file, index, "`unsafe` is not allowed here"));
    }
    violations
}

fn check_printing(file: &SourceFile, views: &Views) -> Vec<Violation> {
    let may_print = CRATES_PRINTING
        .iter()
        .any(|prefix| file.path.starts_with(prefix))
        || !file.path.contains("/src/");
    if may_print {
        return Vec::new();
    }
    let code = scan::without_tests(&views.code);
    ["println!", "eprintln!", "print!", "eprint!"]
        .iter()
        .flat_map(|text| scan::lines_with_word(code, text))
        .map(|index| Violation::at(file, index, "libraries do not print; return it"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks a library file with this code after a proper opening.
    fn found(code: &str) -> Vec<String> {
        let text = format!("//! A file for a test.\n{code}\n");
        check(&SourceFile::new("crates/some/src/file.rs", &text))
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn decent_code_passes() {
        let code = "\
/// Says \"todo!\" in quotes, and mentions unsafe in a comment.
pub fn fine() -> &'static str {
    \"dbg!(1); unsafe; println!\"
}

#[cfg(test)]
mod tests {
    fn shows() {
        println!(\"SKIPPED\");
    }
}";
        assert_eq!(found(code), Vec::<String>::new());
    }

    #[test]
    fn planted_habits_are_found() {
        for planted in [
            "fn later() { todo!() }".to_string(),
            "fn later() { unimplemented!() }".to_string(),
            "fn look() { dbg!(1); }".to_string(),
            "#[ignore = \"slow\"]\nfn test() {}".to_string(),
            format!("// {}{} later", "TO", "DO"),
            format!("// {}{} later", "FIX", "ME"),
            "fn raw() { unsafe { danger() } }".to_string(),
            "fn says() { println!(\"x\"); }".to_string(),
            "fn says() { eprintln!(\"x\"); }".to_string(),
            "fn tab() {\t}".to_string(),
            "fn blank() {} ".to_string(),
            format!("// see {}{}shared", "/wo", "rk/"),
            format!("// see {}{}12", "issue ", "#"),
        ] {
            assert_eq!(found(&planted).len(), 1, "{planted}: {:?}", found(&planted));
        }
    }

    #[test]
    fn a_file_without_its_purpose_is_found() {
        let file = SourceFile::new("crates/some/src/file.rs", "fn bare() {}\n");
        assert_eq!(check(&file).len(), 1);
        let short = SourceFile::new("crates/some/src/file.rs", "//! x\nfn bare() {}\n");
        assert_eq!(check(&short).len(), 1);
    }

    #[test]
    fn a_library_without_invariants_is_found() {
        let bare = SourceFile::new("crates/some/src/lib.rs", "//! Things of some use.\n");
        assert_eq!(check(&bare).len(), 1);
        let full = "//! Things of some use.\n//!\n//! Invariants: none is lost.\n";
        assert!(check(&SourceFile::new("crates/some/src/lib.rs", full)).is_empty());
    }

    #[test]
    fn a_file_that_is_too_long_is_found() {
        assert_eq!(found(&"fn f() {}\n".repeat(LINES_MAX)).len(), 1);
    }

    #[test]
    fn unfinished_documents_are_found() {
        let text = format!("# Title\n\n{}{}: write this\n", "TO", "DO");
        assert_eq!(check(&SourceFile::new("docs/some.md", &text)).len(), 1);
        assert_eq!(check(&SourceFile::new("docs/some.md", "# Title")).len(), 1);
    }
}
