//! Commands in documents, run as a reader would run them.
//!
//! A block that begins with ```` ```console ```` holds commands after `$ ` and, below each, lines of what
//! it prints. All blocks of one document share a home folder with some files in it. A line of
//! output may hold `…` for what differs each time; lines may be left out, but what is shown must
//! come, in this order. Blocks of any other kind are not run.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::workspace::{self, SourceFile};

/// Stands for any text in a line of output.
const ANYTHING: char = '…';

/// A command and what it is said to print.
#[derive(Debug, PartialEq, Eq)]
struct Snippet {
    line_index: usize,
    command: String,
    output: Vec<String>,
}

/// Runs the commands of a document and tells where they fail or print something else.
pub fn check(document: &SourceFile, program: &Path) -> Result<Vec<String>, String> {
    let snippets = extract(&document.text);
    if snippets.is_empty() {
        return Ok(Vec::new());
    }
    if snippets.iter().any(|snippet| uses_restic(&snippet.command)) && !restic().is_file() {
        let missing = format!(
            "{} is missing; `cargo xtask tools` gets it",
            restic().display()
        );
        if std::env::var_os("OUTLAST_TEST_REQUIRE_TOOLS").is_some() {
            return Err(missing);
        }
        eprintln!("SKIPPED: the commands of {}: {missing}", document.path);
        return Ok(Vec::new());
    }
    let home = Home::make(&document.path)?;
    let mut problems = Vec::new();
    // Each command has a shell of its own; what is exported holds for those after it.
    let mut exported = String::new();
    for snippet in &snippets {
        let place = format!("{}:{}", document.path, snippet.line_index + 1);
        if snippet.command.starts_with("export ") {
            exported.push_str(&snippet.command);
            exported.push('\n');
            continue;
        }
        match home.execute(&format!("{exported}{}", snippet.command), program)? {
            Ok(output) => {
                if let Some(line) = first_missing(&snippet.output, &output) {
                    problems.push(format!(
                        "{place}: `{}` does not print `{line}`; it prints:\n{output}",
                        snippet.command
                    ));
                }
            }
            Err(output) => {
                problems.push(format!("{place}: `{}` fails:\n{output}", snippet.command));
                break;
            }
        }
    }
    Ok(problems)
}

/// The restic that documents mean when they say `restic`.
fn restic() -> PathBuf {
    workspace::tools_folder().join("restic-0.19")
}

fn uses_restic(command: &str) -> bool {
    command.split_whitespace().any(|word| word == "restic")
}

/// The commands of all console blocks. A line that ends with `\` goes on in the next.
fn extract(text: &str) -> Vec<Snippet> {
    let mut snippets: Vec<Snippet> = Vec::new();
    let mut inside = false;
    for (line_index, line) in text.lines().enumerate() {
        if line.starts_with("```") {
            inside = !inside && line == "```console";
            continue;
        }
        if !inside {
            continue;
        }
        if let Some(command) = line.strip_prefix("$ ") {
            snippets.push(Snippet {
                line_index,
                command: command.to_string(),
                output: Vec::new(),
            });
        } else if let Some(last) = snippets.last_mut() {
            if last.output.is_empty() && last.command.ends_with('\\') {
                last.command.push('\n');
                last.command.push_str(line);
            } else if !line.trim().is_empty() {
                last.output.push(line.to_string());
            }
        }
    }
    snippets
}

/// The first expected line that does not come in its turn.
fn first_missing<'a>(expected: &'a [String], output: &str) -> Option<&'a str> {
    let mut lines = output.lines();
    expected
        .iter()
        .find(|pattern| !lines.any(|line| matches(pattern.trim(), line.trim())))
        .map(String::as_str)
}

/// Whether a line fits a pattern in which [`ANYTHING`] stands for any text.
fn matches(pattern: &str, line: &str) -> bool {
    let mut parts = pattern.split(ANYTHING);
    let Some(mut rest) = parts.next().and_then(|first| line.strip_prefix(first)) else {
        return false;
    };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        match rest.find(part) {
            Some(position) => rest = &rest[position + part.len()..],
            None => return false,
        }
    }
    true
}

/// A home folder for the commands of one document, removed afterwards.
struct Home {
    folder: PathBuf,
}

impl Home {
    fn make(name: &str) -> Result<Self, String> {
        let name = name.replace(['/', '.'], "-");
        let folder = workspace::root()
            .join("target/snippets")
            .join(format!("{name}-{}", std::process::id()));
        let home = Home { folder };
        for (path, text) in [
            ("Documents/letter.txt", "Dear reader,\n"),
            ("Documents/plan.txt", "First, make a copy.\n"),
            ("Documents/photos/sea.jpg", "not really a photograph\n"),
            ("Documents/photos/hills.jpg", "nor is this one\n"),
        ] {
            let path = home.folder.join(path);
            let parent = path.parent().unwrap_or(&home.folder);
            fs::create_dir_all(parent)
                .and_then(|()| fs::write(&path, text))
                .map_err(|error| format!("{}: {error}", path.display()))?;
        }
        let programs = home.programs();
        fs::create_dir_all(&programs)
            .and_then(|()| symlink(restic(), programs.join("restic")))
            .map_err(|error| format!("{}: {error}", programs.display()))?;
        Ok(home)
    }

    /// Programs under the names that documents use.
    fn programs(&self) -> PathBuf {
        self.folder.join(".programs")
    }

    /// Runs a command; the inner result tells whether it succeeded, with all that it printed.
    fn execute(&self, command: &str, program: &Path) -> Result<Result<String, String>, String> {
        let mut folders: Vec<PathBuf> = program
            .parent()
            .map(Path::to_path_buf)
            .into_iter()
            .collect();
        folders.push(self.programs());
        if let Some(path) = std::env::var_os("PATH") {
            folders.extend(std::env::split_paths(&path));
        }
        let path = std::env::join_paths(folders).map_err(|error| error.to_string())?;
        let output = Command::new("bash")
            .args(["-c", &format!("set -euo pipefail\nexec 2>&1\n{command}")])
            .current_dir(&self.folder)
            .env_clear()
            .env("HOME", &self.folder)
            .env("PATH", path)
            .env("LANG", "C.UTF-8")
            .env("TZ", "UTC")
            .stdin(Stdio::null())
            .output()
            .map_err(|error| format!("bash: {error}"))?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        Ok(if output.status.success() {
            Ok(text)
        } else {
            Err(text)
        })
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        // What stays behind lies in the target folder and harms nobody.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENT: &str = "\
# Title

```console
$ echo one; echo two 3
two …
$ printf '%s\\n' \\
    a-b-c
a…b…c
```

```sh
$ false
```
";

    #[test]
    fn commands_are_extracted() {
        let snippets = extract(DOCUMENT);
        assert_eq!(snippets.len(), 2);
        assert_eq!(snippets[0].command, "echo one; echo two 3");
        assert_eq!(snippets[0].output, ["two …"]);
        assert!(snippets[1].command.ends_with("\\\n    a-b-c"));
        assert_eq!(snippets[1].line_index, 5);
    }

    #[test]
    fn what_is_true_passes() {
        let document = SourceFile::new("docs/true.md", DOCUMENT);
        let problems = check(&document, Path::new("/bin/true")).expect("bash runs");
        assert_eq!(problems, Vec::<String>::new());
    }

    #[test]
    fn what_is_not_true_is_found() {
        for (name, body) in [
            ("docs/a.md", "$ false"),
            ("docs/b.md", "$ echo one\ntwo"),
            ("docs/c.md", "$ echo one; echo two\ntwo\none"),
            ("docs/d.md", "$ cat Documents/missing.txt"),
            ("docs/e.md", "$ export A=1\n$ echo $A\n2"),
        ] {
            let document = SourceFile::new(name, &format!("```console\n{body}\n```\n"));
            let problems = check(&document, Path::new("/bin/true")).expect("bash runs");
            assert_eq!(problems.len(), 1, "{body}");
        }
    }

    #[test]
    fn patterns_match() {
        for (pattern, line, expected) in [
            ("same", "same", true),
            ("same", "same not", false),
            ("a … c", "a b c", true),
            ("a … c", "a b d", false),
            ("…end", "the end", true),
            ("start…", "start and more", true),
            ("a…b…c", "a1b2c", true),
            ("a…b…c", "a1c", false),
        ] {
            assert_eq!(matches(pattern, line), expected, "{pattern} {line}");
        }
    }
}
