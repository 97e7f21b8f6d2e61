//! Links between documents lead somewhere.

use std::path::Path;

use super::Violation;
use crate::workspace::SourceFile;

/// A link in a document.
struct Link<'a> {
    line_index: usize,
    target: &'a str,
}

/// Every relative link must lead to a file or folder, and its `#part` to a heading.
pub fn check(file: &SourceFile, documents: &[SourceFile], root: &Path) -> Vec<Violation> {
    let mut violations = Vec::new();
    for link in links(&file.text) {
        let target = link.target;
        if target.contains("://") || target.starts_with("mailto:") {
            continue;
        }
        let (path, part) = target.split_once('#').unwrap_or((target, ""));
        let full = if path.is_empty() {
            Some(file.path.clone())
        } else {
            resolve(&file.path, path)
        };
        let Some(full) = full else {
            let message = format!("the link `{target}` leads out of the repository");
            violations.push(Violation::at(file, link.line_index, message));
            continue;
        };
        let document = documents.iter().find(|one| one.path == full);
        if document.is_none() && !root.join(&full).exists() {
            let message = format!("the link `{target}` leads nowhere");
            violations.push(Violation::at(file, link.line_index, message));
        }
        let misses_part = document.is_some_and(|document| {
            !part.is_empty() && !anchors(&document.text).iter().any(|anchor| anchor == part)
        });
        if misses_part {
            let message = format!("the link `{target}` names a heading that is not there");
            violations.push(Violation::at(file, link.line_index, message));
        }
    }
    violations
}

/// The targets of `[text](target)` outside code.
fn links(text: &str) -> Vec<Link<'_>> {
    let mut found = Vec::new();
    for (line_index, line) in lines_outside_code(text) {
        for (index, piece) in line.split('`').enumerate() {
            // Odd pieces stand between two backticks.
            if index % 2 == 1 {
                continue;
            }
            for (start, mark) in piece.match_indices("](") {
                let rest = &piece[start + mark.len()..];
                if let Some((target, _)) = rest.split_once(')') {
                    found.push(Link { line_index, target });
                }
            }
            // A link whose text is code: the bracket closes in this piece, see above; its opening
            // bracket stood in an earlier one and does not matter.
        }
    }
    found
}

fn lines_outside_code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut in_code = false;
    text.lines().enumerate().filter(move |(_, line)| {
        let is_fence = line.trim_start().starts_with("```");
        in_code ^= is_fence;
        !in_code && !is_fence
    })
}

/// The names under which a document's headings can be linked to.
fn anchors(text: &str) -> Vec<String> {
    lines_outside_code(text)
        .filter_map(|(_, line)| line.strip_prefix('#'))
        .map(|heading| {
            heading
                .trim_start_matches('#')
                .trim()
                .to_lowercase()
                .chars()
                .filter_map(|character| match character {
                    ' ' => Some('-'),
                    '-' | '_' => Some(character),
                    _ => character.is_alphanumeric().then_some(character),
                })
                .collect()
        })
        .collect()
}

/// The path of a link from the top folder on; `None` if it leads out of the repository.
fn resolve(from: &str, link: &str) -> Option<String> {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in link.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            _ => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<String> {
        let document = SourceFile::new("docs/one.md", text);
        let other = SourceFile::new("docs/two.md", "# Title\n\n## A heading, `coded`\n");
        let top = SourceFile::new("README.md", "# Top\n");
        let all = [document.clone(), other, top];
        check(&document, &all, Path::new("/nonexistent"))
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn links_that_lead_somewhere_pass() {
        for text in [
            "see [two](two.md) and [top](../README.md)\n",
            "see [part](two.md#a-heading-coded), [`code`](two.md)\n",
            "# Here\n\nsee [here](#here), [web](https://example.com/x.md)\n",
            "```\n[not](a-link.md)\n```\nand `[this](neither.md)`\n",
        ] {
            assert_eq!(found(text), Vec::<String>::new(), "{text}");
        }
    }

    #[test]
    fn links_that_lead_nowhere_are_found() {
        for text in [
            "see [three](three.md)\n",
            "see [`three`](three.md)\n",
            "see [part](two.md#another)\n",
            "see [here](#nowhere)\n",
            "see [out](../../etc/passwd)\n",
        ] {
            assert_eq!(found(text).len(), 1, "{text}");
        }
    }
}
