//! What the real programs say of a repository in memory.

use std::path::Path;
use std::process::{Command, Output};

use outlast_object::ObjectKind;
use outlast_store::Contents;

use super::PASSWORD;

/// Writes the objects as a folder in restic's layout.
pub fn export(contents: &Contents, folder: &Path) {
    for kind in ObjectKind::ALL {
        if kind != ObjectKind::Config {
            std::fs::create_dir_all(folder.join(kind.folder())).unwrap();
        }
    }
    for (name, bytes) in contents {
        let id = name.id().to_hex();
        let path = match name.kind() {
            ObjectKind::Config => folder.join("config"),
            ObjectKind::Pack => folder.join("data").join(&id[..2]).join(&id),
            kind => folder.join(kind.folder()).join(&id),
        };
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
}

/// Reads a folder in restic's layout.
pub fn import(folder: &Path) -> Contents {
    let store = outlast_store::LocalStore::open(folder).unwrap();
    let mut contents = Contents::new();
    use outlast_store::Store;
    for kind in ObjectKind::ALL {
        if kind == ObjectKind::Config {
            continue;
        }
        for info in store.list_all(kind).unwrap() {
            let name = outlast_object::ObjectName::new(kind, info.id);
            contents.insert(name, store.read(&name).unwrap().into());
        }
    }
    let config = outlast_object::ObjectName::CONFIG;
    contents.insert(config, store.read(&config).unwrap().into());
    contents
}

/// Runs a program of restic's kind on a folder.
pub fn run(program: &Path, folder: &Path, arguments: &[&str]) -> Output {
    Command::new(program)
        .arg("--no-cache")
        .args(arguments)
        .env("RESTIC_REPOSITORY", folder)
        .env("RESTIC_PASSWORD", std::str::from_utf8(PASSWORD).unwrap())
        .env("RUSTIC_REPOSITORY", folder)
        .env("RUSTIC_PASSWORD", std::str::from_utf8(PASSWORD).unwrap())
        .env("HOME", folder)
        .output()
        .unwrap()
}

/// Fails the test unless the program ends well; gives what it printed.
pub fn must_run(program: &Path, folder: &Path, arguments: &[&str]) -> String {
    let output = run(program, folder, arguments);
    assert!(
        output.status.success(),
        "{} {arguments:?}: {}\n{}",
        program.display(),
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What a program says of the objects in memory: whether it is content, and its messages.
pub fn judge(program: &Path, contents: &Contents, arguments: &[&str]) -> (bool, String) {
    let folder = tempfile::tempdir().unwrap();
    export(contents, folder.path());
    let output = run(program, folder.path(), arguments);
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    (output.status.success(), text)
}
