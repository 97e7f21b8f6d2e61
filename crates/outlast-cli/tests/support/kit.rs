//! Support for the tests of the recovery kit: making one, typing it again, following it.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;

use super::{World, json_lines, texts};

/// Runs outlast with nothing in the environment, which must succeed; gives all that it says.
pub fn succeeds(world: &World, arguments: &[&str]) -> String {
    world.ends_with(arguments, 0)
}

/// A repository in a folder with one snapshot.
pub fn filled() -> World {
    let world = World::new();
    for number in 0..10_u32 {
        let bytes = number.to_le_bytes().repeat(20_000);
        world.write(&format!("documents/file{number}"), bytes);
    }
    world.outlast(&["init"]);
    world.outlast(&["backup", "documents"]);
    world
}

/// Makes a kit of a world's repository; gives the texts of its sheets.
pub fn make(world: &World, more: &[&str]) -> Vec<String> {
    let mut arguments = vec!["kit", "--json", "--into", "paper"];
    arguments.extend(more);
    read_made(world, &world.outlast(&arguments))
}

/// The texts of the sheets that `kit --json` says it wrote.
pub fn read_made(world: &World, said: &str) -> Vec<String> {
    let is_message = |line: &&str| line.starts_with('{');
    let said: String = said.lines().filter(is_message).collect();
    let made = json_lines(&said).pop().unwrap();
    let files = made["files"].as_array().unwrap();
    let texts = files.iter().map(|file| file.as_str().unwrap());
    texts
        .filter(|file| file.ends_with(".txt"))
        .map(|file| {
            let path = world.join(file);
            let mode = fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
            let html = fs::read_to_string(path.with_extension("html")).unwrap();
            assert!(html.contains("<svg") && html.ends_with("</html>\n"));
            fs::read_to_string(path).unwrap()
        })
        .collect()
}

/// Only the lines that have to be typed.
pub fn lines(text: &str) -> Vec<String> {
    let is_line = |line: &&str| {
        line.starts_with(['K', 'S', 'C'])
            && line
                .split_once(": ")
                .is_some_and(|(label, _)| label.contains('/'))
    };
    text.lines().filter(is_line).map(str::to_owned).collect()
}

/// The commands that are set apart in the text.
pub fn commands(text: &str) -> Vec<&str> {
    text.lines()
        .filter_map(|line| line.strip_prefix("    "))
        .collect()
}

/// Runs the commands in a shell of a clean machine where this is the only restic.
pub fn follow(clean: &World, restic: &Path, commands: &[&str]) -> String {
    let folder = clean.join("bin");
    fs::create_dir_all(&folder).unwrap();
    let link = folder.join("restic");
    let _ = fs::remove_file(&link);
    std::os::unix::fs::symlink(fs::canonicalize(restic).unwrap(), link).unwrap();
    let path = std::env::var("PATH").unwrap_or_default();
    let mut shell = clean
        .bare_command("sh")
        .args(["-e", "-u"])
        .env("PATH", format!("{}:{path}", folder.display()))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let script = commands.join("\n") + "\n";
    shell
        .stdin
        .take()
        .unwrap()
        .write_all(script.as_bytes())
        .unwrap();
    let output = shell.wait_with_output().unwrap();
    assert!(output.status.success(), "{script}\n{}", texts(&output));
    texts(&output)
}

/// Whether the documents of a world came back below a folder.
pub fn assert_restored(world: &World, target: &Path) {
    let documents = world.join("documents");
    let whole = target.join(documents.strip_prefix("/").unwrap());
    // What was named by a relative path comes back by it.
    let restored = if whole.exists() {
        whole
    } else {
        target.join("documents")
    };
    let mut count = 0;
    for entry in fs::read_dir(&documents).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap();
        assert_eq!(
            fs::read(restored.join(name)).unwrap(),
            fs::read(&path).unwrap()
        );
        count += 1;
    }
    assert!(count >= 10);
}
