//! Programs out of Debian packages of any suite, without installing them.
//!
//! apt gets a list of sources and a folder for its indexes of our own, so that the system's stay as
//! they are. The mirror is the one that the machine uses.

use std::fs;
use std::path::{Path, PathBuf};

use super::{copy, find_on_path, is_root};
use crate::process;

/// Used where the machine's own configuration names no Debian mirror.
const MIRROR_DEFAULT: &str = "http://deb.debian.org/debian";

/// The key with which Debian signs its suites, where Debian puts it.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Suites whose mirror also has the others.
const SUITES: &[&str] = &["bookworm", "trixie", "forky", "sid", "stable", "testing"];

/// A program in a package.
pub struct Package {
    /// The suite to take it from.
    pub suite: &'static str,
    /// The package.
    pub name: &'static str,
    /// The version to try first; the suite moves on, and then has another.
    pub version: Option<&'static str>,
    /// The program's path inside the package.
    pub program: &'static str,
}

/// Fetches the package and puts its program at `target`.
pub fn fetch(package: &Package, cache: &Path, target: &Path) -> Result<(), String> {
    for program in ["apt-get", "dpkg-deb"] {
        if find_on_path(program).is_none() {
            return Err(format!(
                "there is no {program} here; put the program at {} yourself",
                target.display()
            ));
        }
    }
    let archive = Archive::open(package.suite, cache)?;
    let folder = archive.folder.join(package.name);
    remove_folder(&folder)?;
    create_folder(&folder)?;

    let pinned = package
        .version
        .map(|version| format!("{}={version}", package.name));
    let got_pinned = pinned.is_some_and(|wish| archive.download(&wish, &folder).is_ok());
    if !got_pinned {
        archive.download(package.name, &folder)?;
    }
    let file = only_package_in(&folder)?;
    println!("  got {}", file.display());

    let unpacked = folder.join("unpacked");
    let mut command = process::command("dpkg-deb", &["--extract"]);
    command.arg(&file).arg(&unpacked);
    process::show(command)?;
    copy(&unpacked.join(package.program), target)?;
    remove_folder(&folder)
}

/// A suite of Debian, as apt sees it through our own lists.
struct Archive {
    folder: PathBuf,
    options: Vec<String>,
}

impl Archive {
    fn open(suite: &str, cache: &Path) -> Result<Self, String> {
        let folder = cache.join("apt").join(suite);
        create_folder(&folder.join("lists/partial"))?;
        create_folder(&folder.join("cache/archives/partial"))?;
        let signed = if Path::new(KEYRING).exists() {
            format!("[signed-by={KEYRING}] ")
        } else {
            String::new()
        };
        let mirror = machine_mirror();
        let sources = folder.join("sources.list");
        let line = format!("deb {signed}{mirror} {suite} main\n");
        fs::write(&sources, line).map_err(|error| format!("{}: {error}", sources.display()))?;

        let mut options = Vec::new();
        for (name, path) in [
            ("Dir::Etc::sourcelist", sources),
            ("Dir::State::lists", folder.join("lists")),
            ("Dir::Cache", folder.join("cache")),
        ] {
            options.push(format!("{name}={}", path.display()));
        }
        options.push("Dir::Etc::sourceparts=/dev/null".to_string());
        options.push("Acquire::Languages=none".to_string());
        options.push("Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false".to_string());
        options.push("Acquire::Retries=3".to_string());
        if is_root() {
            options.push("APT::Sandbox::User=root".to_string());
        }
        let archive = Archive { folder, options };
        archive.apt(&["update"], &archive.folder)?;
        Ok(archive)
    }

    fn download(&self, what: &str, folder: &Path) -> Result<(), String> {
        self.apt(&["download", what], folder)
    }

    fn apt(&self, arguments: &[&str], folder: &Path) -> Result<(), String> {
        let mut command = process::command("apt-get", &["--quiet"]);
        for option in &self.options {
            command.args(["-o", option]);
        }
        command.args(arguments).current_dir(folder);
        process::show(command)
    }
}

fn only_package_in(folder: &Path) -> Result<PathBuf, String> {
    let explain = |error| format!("{}: {error}", folder.display());
    for entry in fs::read_dir(folder).map_err(explain)? {
        let path = entry.map_err(explain)?.path();
        if path.extension().is_some_and(|end| end == "deb") {
            return Ok(path);
        }
    }
    Err(format!("{}: apt-get left no package", folder.display()))
}

fn create_folder(folder: &Path) -> Result<(), String> {
    fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))
}

fn remove_folder(folder: &Path) -> Result<(), String> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(format!("{}: {error}", folder.display()))
        }
        _ => Ok(()),
    }
}

/// The Debian mirror that this machine uses.
fn machine_mirror() -> String {
    let mut texts = Vec::new();
    let mut paths = vec![PathBuf::from("/etc/apt/sources.list")];
    if let Ok(entries) = fs::read_dir("/etc/apt/sources.list.d") {
        paths.extend(entries.flatten().map(|entry| entry.path()));
    }
    paths.sort();
    for path in paths {
        let is_source = path
            .extension()
            .is_some_and(|end| end == "list" || end == "sources");
        if is_source {
            texts.extend(fs::read_to_string(&path).ok());
        }
    }
    texts
        .iter()
        .find_map(|text| mirror_in(text))
        .unwrap_or_else(|| MIRROR_DEFAULT.to_string())
}

/// The first mirror of a Debian suite in a file of apt sources, of the old or the new form.
fn mirror_in(text: &str) -> Option<String> {
    let is_debian =
        |words: &[&str]| words.iter().any(|word| SUITES.contains(word)) && words.contains(&"main");
    for line in text.lines().map(str::trim) {
        if let Some(rest) = line.strip_prefix("deb ") {
            let rest = match rest.trim_start().strip_prefix('[') {
                Some(options) => options.split_once(']').map_or("", |(_, rest)| rest),
                None => rest,
            };
            let words: Vec<&str> = rest.split_whitespace().collect();
            if let Some((uri, suite)) = words.split_first()
                && is_debian(suite)
                && uri.starts_with("http")
            {
                return Some((*uri).to_string());
            }
        }
    }
    for stanza in text.split("\n\n") {
        let field = |name: &str| {
            stanza.lines().find_map(|line| {
                let value = line.strip_prefix(name)?.strip_prefix(':')?;
                Some(value.split_whitespace().collect::<Vec<_>>())
            })
        };
        let mut words = field("Suites").unwrap_or_default();
        words.extend(field("Components").unwrap_or_default());
        let uri = field("URIs").and_then(|uris| uris.first().copied());
        if let Some(uri) = uri
            && is_debian(&words)
            && uri.starts_with("http")
        {
            return Some(uri.to_string());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mirror_of_either_form_is_found() {
        let old = "# comment\ndeb [arch=amd64] http://other.example/x nodistro main\n\
                   deb [signed-by=/k.gpg] http://mirror.example/debian bookworm main\n";
        assert_eq!(
            mirror_in(old).as_deref(),
            Some("http://mirror.example/debian")
        );
        let new = "Types: deb\nURIs: http://security.example/x\nSuites: bookworm-security\n\
                   Components: main\n\nTypes: deb\n# snapshot\nURIs: https://mirror.example/debian\n\
                   Suites: bookworm bookworm-updates\nComponents: main\n";
        assert_eq!(
            mirror_in(new).as_deref(),
            Some("https://mirror.example/debian")
        );
    }

    #[test]
    fn other_distributions_name_no_mirror() {
        assert_eq!(mirror_in("deb http://x.example/ubuntu noble main\n"), None);
        assert_eq!(mirror_in("deb [broken\n"), None);
        assert_eq!(mirror_in(""), None);
    }
}
