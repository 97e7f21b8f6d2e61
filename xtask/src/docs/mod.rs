//! `cargo xtask docs`: the documents say what the program does.
//!
//! The exit codes in the documents are those of the program, and the commands that the documents
//! show are run, in a home folder made for them, with what they print compared.

mod snippets;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::workspace::{self, SourceFile};
use crate::{process, tidy};

/// Where the program keeps its exit codes.
const CODES_SOURCE_PREFIX: &str = "crates/outlast-cli/src/exit";

/// Where the documents do.
const CODES_DOCUMENT: &str = "docs/exit-codes.md";

/// Where the environment variables of the program are declared, and where they are described.
const PROGRAM_SOURCES: &str = "crates/outlast-cli/src/";
const VARIABLES_DOCUMENT: &str = "docs/configuration.md";

/// Names in the program that stand for no variable at all.
const VARIABLES_UNREAL: &[&str] = &["OUTLAST_NOT_SET"];

/// The task.
pub fn run() -> Result<(), String> {
    let problems = check_all(&built_program()?)?;
    if problems.is_empty() {
        println!("docs: the documents say what the program does");
        return Ok(());
    }
    Err(problems.join("\n"))
}

/// Everything that is wrong with the documents, given the built program.
fn check_all(program: &Path) -> Result<Vec<String>, String> {
    let files = workspace::files()?;
    let mut problems = exit_code_problems(&files);
    problems.extend(variable_problems(&files));
    for file in files.iter().filter(|file| file.has_extension("md")) {
        problems.extend(snippets::check(file, program)?);
    }
    Ok(problems)
}

fn exit_code_problems(files: &[SourceFile]) -> Vec<String> {
    let codes: BTreeSet<u8> = files
        .iter()
        .filter(|file| file.path.starts_with(CODES_SOURCE_PREFIX))
        .flat_map(|file| tidy::defined_exit_codes(&file.text))
        .collect();
    let Some(document) = files.iter().find(|file| file.path == CODES_DOCUMENT) else {
        return vec![format!("{CODES_DOCUMENT} is missing")];
    };
    if codes.is_empty() {
        return vec![format!("no exit codes in {CODES_SOURCE_PREFIX}*")];
    }
    tidy::check_exit_codes(&codes, &document.text)
        .iter()
        .map(ToString::to_string)
        .collect()
}

/// Environment variables that the program takes and no document names.
fn variable_problems(files: &[SourceFile]) -> Vec<String> {
    let Some(document) = files.iter().find(|file| file.path == VARIABLES_DOCUMENT) else {
        return vec![format!("{VARIABLES_DOCUMENT} is missing")];
    };
    let sources = files
        .iter()
        .filter(|file| file.path.starts_with(PROGRAM_SOURCES));
    let variables: BTreeSet<&str> = sources.flat_map(|file| variables_in(&file.text)).collect();
    variables
        .iter()
        .filter(|name| !VARIABLES_UNREAL.contains(name))
        .filter(|name| !document.text.contains(&format!("`{name}`")))
        .map(|name| format!("{VARIABLES_DOCUMENT}: the variable {name} is not described"))
        .collect()
}

/// What looks like one of our variables or restic's, in quotes.
fn variables_in(source: &str) -> impl Iterator<Item = &str> {
    let program = source.split("\n#[cfg(test)]\nmod ").next();
    program.unwrap_or(source).split('"').filter(|text| {
        let is_ours = text.starts_with("RESTIC_") || text.starts_with("OUTLAST_");
        is_ours
            && !text.ends_with('_')
            && text
                .chars()
                .all(|character| character.is_ascii_uppercase() || character == '_')
    })
}

/// The program beside this one in the target folder, else freshly built.
///
/// `cargo test --workspace` builds all programs before any test runs, so a test finds it there.
fn built_program() -> Result<PathBuf, String> {
    let this = std::env::current_exe().map_err(|error| error.to_string())?;
    let beside = this
        .ancestors()
        .skip(1)
        .take(2)
        .map(|folder| folder.join("outlast"))
        .find(|path| path.is_file());
    if let Some(path) = beside {
        return Ok(path);
    }
    process::show(process::cargo(&["build", "--package", "outlast-cli"]))?;
    let path = workspace::root().join("target/debug/outlast");
    if path.is_file() {
        Ok(path)
    } else {
        Err(format!("{} is not there after a build", path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_that_is_not_described_is_found() {
        let document = SourceFile::new(VARIABLES_DOCUMENT, "# A\n\n`RESTIC_HOST`\n");
        let source = |name: &str| {
            let text = format!("//! Arguments.\n#[arg(env = \"{name}\")]\n");
            SourceFile::new("crates/outlast-cli/src/args.rs", &text)
        };
        let problems = |name| variable_problems(&[document.clone(), source(name)]);
        assert!(problems("RESTIC_HOST").is_empty());
        assert!(problems("not a RESTIC_ variable").is_empty());
        assert_eq!(problems("RESTIC_HOSTS").len(), 1);
    }

    #[test]
    fn the_documents_say_what_the_program_does() {
        let program = built_program().expect("the program is built");
        let problems = check_all(&program).expect("the checks can run");
        assert!(problems.is_empty(), "\n{}", problems.join("\n"));
    }
}
