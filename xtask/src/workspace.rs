//! Where things are in this repository.

use std::fs;
use std::path::{Path, PathBuf};

/// Folders that hold nothing of ours.
const FOLDERS_SKIPPED: &[&str] = &["target", ".git", "corpus", "artifacts", ".tools"];

/// The top folder of the repository.
pub fn root() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest).to_path_buf()
}

/// The folder of the interoperability tools, where the tests look for them.
pub fn tools_folder() -> PathBuf {
    root().join("target/tools")
}

/// A text file of the repository.
#[derive(Debug, Clone)]
pub struct SourceFile {
    /// Path from the top folder on, with `/`.
    pub path: String,
    /// What it says.
    pub text: String,
}

impl SourceFile {
    /// A file that need not exist on disk.
    #[cfg(test)]
    pub fn new(path: &str, text: &str) -> Self {
        SourceFile {
            path: path.to_string(),
            text: text.to_string(),
        }
    }

    /// The file's name has this ending.
    pub fn has_extension(&self, extension: &str) -> bool {
        self.path
            .rsplit_once('.')
            .is_some_and(|(_, end)| end == extension)
    }
}

/// Every source, manifest and document of the repository, sorted by path.
pub fn files() -> Result<Vec<SourceFile>, String> {
    let mut found = Vec::new();
    walk(&root(), "", &mut found)?;
    found.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(found)
}

fn walk(folder: &Path, prefix: &str, found: &mut Vec<SourceFile>) -> Result<(), String> {
    let entries = fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    for entry in entries {
        let entry = entry.map_err(|error| format!("{}: {error}", folder.display()))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = format!("{prefix}{name}");
        let kind = entry
            .file_type()
            .map_err(|error| format!("{path}: {error}"))?;
        if kind.is_dir() {
            if !FOLDERS_SKIPPED.contains(&name.as_str()) {
                walk(&entry.path(), &format!("{path}/"), found)?;
            }
        } else if is_text(&path) {
            let text = fs::read_to_string(entry.path())
                .map_err(|error| format!("{path}: {error} (is it UTF-8?)"))?;
            found.push(SourceFile { path, text });
        }
    }
    Ok(())
}

fn is_text(path: &str) -> bool {
    path.rsplit_once('.')
        .is_some_and(|(_, end)| matches!(end, "rs" | "md" | "toml" | "sh" | "yml"))
        || path == ".ci/run"
}
