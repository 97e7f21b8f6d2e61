//! The recovery kit from end to end: printed, typed again with mistakes, and followed to the letter on
//! a machine that has nothing else.

#![allow(
    clippy::unwrap_used,
    clippy::zombie_processes,
    clippy::print_stderr,
    reason = "a test that cannot be set up has failed"
)]

mod support;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use support::{OUTLAST, PASSWORD, World, json_lines, tools};

fn texts(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    text(&output.stdout) + &text(&output.stderr)
}

fn run(world: &World, arguments: &[&str]) -> Output {
    let mut command = world.bare_command(OUTLAST);
    command.args(arguments).output().unwrap()
}

fn succeeds(world: &World, arguments: &[&str]) -> String {
    let output = run(world, arguments);
    assert!(output.status.success(), "{arguments:?}: {}", texts(&output));
    texts(&output)
}

fn refused(world: &World, arguments: &[&str], code: i32) -> String {
    let output = run(world, arguments);
    let said = texts(&output);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
    said
}

/// A repository in a folder with one snapshot.
fn filled() -> World {
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
fn make(world: &World, more: &[&str]) -> Vec<String> {
    let mut arguments = vec!["kit", "--json", "--into", "paper"];
    arguments.extend(more);
    read_made(world, &world.outlast(&arguments))
}

fn read_made(world: &World, said: &str) -> Vec<String> {
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
fn lines(text: &str) -> Vec<String> {
    let is_line = |line: &&str| {
        line.starts_with(['K', 'S', 'C'])
            && line
                .split_once(": ")
                .is_some_and(|(label, _)| label.contains('/'))
    };
    text.lines().filter(is_line).map(str::to_owned).collect()
}

/// The commands that are set apart in the text.
fn commands(text: &str) -> Vec<&str> {
    text.lines()
        .filter_map(|line| line.strip_prefix("    "))
        .collect()
}

/// Runs the commands in a shell of a clean machine where this is the only restic.
fn follow(clean: &World, restic: &Path, commands: &[&str]) -> String {
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
fn assert_restored(world: &World, target: &Path) {
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

#[test]
fn a_kit_outlives_a_change_of_the_password_and_brings_everything_back() {
    let world = filled();
    let text = make(&world, &["--note", "call Ada"]).pop().unwrap();
    assert!(text.contains("call Ada"));
    assert!(text.contains("worth as much as the backups"));
    assert!(!text.contains(PASSWORD), "the kit has a key of its own");
    world.write("new", "another password");
    world.outlast(&["key", "passwd", "--new-password-file", "new"]);

    let clean = World::new();
    clean.write("kit.txt", lines(&text).join("\n"));
    let said = succeeds(&clean, &["kit", "--check", "kit.txt"]);
    assert!(
        said.contains("the kit is good: all 1 copies open"),
        "{said}"
    );
    let said = succeeds(&clean, &["recover", "--kit", "kit.txt"]);
    assert!(
        said.contains("documents") && said.contains("at repository"),
        "{said}"
    );
    succeeds(
        &clean,
        &["recover", "--kit", "kit.txt", "latest", "--target", "out"],
    );
    assert_restored(&world, &clean.join("out"));
    // The whole page does as well, as does standard input.
    clean.write("page.txt", &text);
    succeeds(&clean, &["kit", "--check", "page.txt"]);
    let mut command = clean.bare_command(OUTLAST);
    let page = fs::File::open(clean.join("page.txt")).unwrap();
    let output = command
        .args(["kit", "--check", "-"])
        .stdin(page)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", texts(&output));
    // What is needed by hand.
    succeeds(
        &clean,
        &["recover", "--kit", "kit.txt", "--password-to", "pw"],
    );
    let repository = world.join("repository");
    let repository = repository.to_str().unwrap();
    succeeds(&clean, &["-r", repository, "-p", "pw", "snapshots"]);
    let mode = fs::metadata(clean.join("pw")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    refused(&clean, &["recover", "--kit", "kit.txt", "latest"], 1);
    let said = refused(
        &clean,
        &["recover", "--kit", "kit.txt", "abcdef12", "--target", "x"],
        1,
    );
    assert!(said.contains("no copy has the snapshot"), "{said}");
}

#[test]
fn the_printed_commands_work_as_they_stand_with_stock_restic() {
    let world = filled();
    let own = make(&world, &[]).pop().unwrap();
    let existing = make(&world, &["--existing-password"]).pop().unwrap();
    assert!(existing.contains(PASSWORD));
    for restic in [tools::restic_014(), tools::restic_019()]
        .into_iter()
        .flatten()
    {
        for text in [&own, &existing] {
            let clean = World::new();
            let said = follow(&clean, &restic, &commands(text));
            assert!(said.contains("documents"), "{said}");
            assert_restored(&world, &clean.join("restored-C1"));
        }
    }
}

#[test]
fn each_mistake_is_named_with_its_line() {
    let world = filled();
    let text = make(&world, &[]).pop().unwrap();
    let good = lines(&text);
    let check = |typed: &[String], code: i32| {
        world.write("typed", typed.join("\n"));
        refused(&world, &["kit", "--check", "typed"], code)
    };
    let sloppy: Vec<String> = good
        .iter()
        .map(|line| {
            line.to_lowercase()
                .replace('0', "o")
                .replace('1', "l")
                .replace(' ', "")
        })
        .collect();
    check(&sloppy, 0);
    let mut wrong = good.clone();
    let at = wrong[1].find(':').unwrap() + 2;
    let other = if wrong[1].as_bytes()[at] == b'7' {
        "8"
    } else {
        "7"
    };
    wrong[1].replace_range(at..=at, other);
    let said = check(&wrong, 1);
    assert!(
        said.contains("line K-2 is mistyped, probably in its group 1"),
        "{said}"
    );
    let said = check(&good[1..], 1);
    assert!(said.contains("line K-1 is missing"), "{said}");
    let mut short = good.clone();
    short[0].truncate(20);
    let said = check(&short, 1);
    assert!(said.contains("line K-1 is too short"), "{said}");
    let said = check(&["hello".to_owned()], 1);
    assert!(said.contains("no line of a kit"), "{said}");
    // A kit whose key is good and whose copy is not says which.
    let mut wrong = good.clone();
    let last = wrong.len() - 1;
    wrong[last] = wrong[last].replace("  ", "  X");
    let said = check(&wrong, 1);
    assert!(said.contains("line C1-"), "{said}");
    let copy = world.join("repository");
    let copy = copy.to_str().unwrap();
    succeeds(
        &world,
        &[
            "recover", "--kit", "typed", "--copy", copy, "latest", "--target", "out",
        ],
    );
    // Lines of two kits together.
    let other = lines(&make(&world, &[]).pop().unwrap());
    let mixed: Vec<String> = good.iter().chain(&other).cloned().collect();
    let said = check(&mixed, 1);
    assert!(said.contains("different kits"), "{said}");
    // The kit of another repository whose copy went where this one was.
    let foreign = filled();
    let theirs = make(&foreign, &[]).pop().unwrap();
    fs::remove_dir_all(world.join("repository")).unwrap();
    fs::rename(foreign.join("repository"), world.join("repository")).unwrap();
    let said = check(&good, 1);
    assert!(said.contains("the kit's key does not open it"), "{said}");
    let said = check(&lines(&theirs), 1);
    assert!(said.contains("could not be reached"), "{said}");
}

#[test]
fn two_of_three_sheets_are_enough_and_a_wrong_one_is_named() {
    let world = filled();
    let sheets = make(&world, &["--split", "2/3"]);
    let others = make(&world, &["--split", "2/3"]);
    assert_eq!(sheets.len(), 3);
    for (name, text) in ["a", "b", "c"].iter().zip(&sheets) {
        world.write(name, lines(text).join("\n"));
    }
    world.write("foreign", lines(&others[1]).join("\n"));
    for (first, second) in [("a", "b"), ("b", "c"), ("c", "a")] {
        succeeds(&world, &["kit", "--check", first, second]);
        let both = format!(
            "{}\n{}",
            lines(&sheets[0]).join("\n"),
            lines(&sheets[2]).join("\n")
        );
        world.write("both", both);
        succeeds(&world, &["kit", "--check", "both"]);
    }
    let said = refused(&world, &["kit", "--check", "b"], 1);
    assert!(said.contains("find 1 more"), "{said}");
    let said = refused(&world, &["kit", "--check", "a", "foreign"], 1);
    assert!(
        said.contains("foreign: ") && said.contains("of another kit"),
        "{said}"
    );
    let target = ["latest", "--target", "out"];
    let mut arguments = vec!["recover", "--kit", "a", "--kit", "foreign", "--kit", "c"];
    arguments.extend(target);
    let said = succeeds(&world, &arguments);
    assert!(said.contains("S2 is of another kit"), "{said}");
    assert_restored(&world, &world.join("out"));
    refused(&world, &["kit", "--existing-password", "--split", "4/3"], 1);
    // The program on the sheet makes the same password without outlast.
    let program: Vec<&str> = sheets[0]
        .lines()
        .filter_map(|line| line.strip_prefix('|'))
        .map(|line| line.strip_prefix(' ').unwrap_or(line))
        .collect();
    world.write("join.py", program.join("\n") + "\n");
    let Ok(python) = Command::new("python3").arg("--version").output() else {
        eprintln!("SKIPPED: there is no python3");
        return;
    };
    assert!(python.status.success());
    let typed = fs::File::open(world.join("both")).unwrap();
    let joined = Command::new("python3")
        .arg(world.join("join.py"))
        .stdin(typed)
        .output()
        .unwrap();
    succeeds(&world, &["recover", "--kit", "both", "--password-to", "pw"]);
    let password = fs::read(world.join("pw")).unwrap();
    assert_eq!(joined.stdout, password, "{}", texts(&joined));
}

/// The vault's program, which is built beside this one.
fn vault_program() -> Option<PathBuf> {
    let path = Path::new(OUTLAST).with_file_name("outlast-vault");
    if path.exists() {
        return Some(path);
    }
    let missing = "outlast-vault is not built; `cargo build -p outlast-vault` does that";
    assert!(
        std::env::var_os("OUTLAST_TEST_REQUIRE_TOOLS").is_none(),
        "{missing}"
    );
    eprintln!("SKIPPED: {missing}");
    None
}

struct Serving(Child);

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A vault in a folder, serving.
struct Vault {
    program: PathBuf,
    folder: PathBuf,
}

impl Vault {
    fn new(world: &World, name: &str) -> Option<(Self, Serving)> {
        let program = vault_program()?;
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        drop(listener);
        let vault = Self {
            program,
            folder: world.join(name),
        };
        let made = vault
            .command()
            .args(["init", "--name", name, "--no-immutable"])
            .args(["--address", &address, "--listen", &address])
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", texts(&made));
        let mut child = vault
            .command()
            .arg("serve")
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
        let is_ready = |line: std::io::Result<String>| line.unwrap().contains(" ready ");
        assert!(log.any(is_ready), "the vault ended");
        std::thread::spawn(move || log.for_each(drop));
        Some((vault, Serving(child)))
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("--vault").arg(&self.folder);
        command
    }

    fn invite(&self, arguments: &[&str]) -> String {
        let output = self
            .command()
            .arg("invite")
            .args(arguments)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", texts(&output));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }
}

#[test]
fn any_one_copy_is_enough_on_a_clean_machine() {
    let world = World::new();
    let Some((first, first_serving)) = Vault::new(&world, "first.example") else {
        return;
    };
    let Some((second, second_serving)) = Vault::new(&world, "second.example") else {
        return;
    };
    for number in 0..10_u32 {
        let bytes = number.to_le_bytes().repeat(20_000);
        world.write(&format!("documents/file{number}"), bytes);
    }
    for vault in [&first, &second] {
        succeeds(&world, &["custodian", "add", &vault.invite(&["web1"])]);
    }
    let disk = world.join("disk");
    let disk_text = format!("disk:{}", disk.display());
    succeeds(&world, &["custodian", "add", &disk_text, "--name", "usb"]);
    succeeds(&world, &["protect", "documents"]);
    // A token to read is for the paper alone.
    world.write(
        "first.invite",
        first.invite(&["web1", "--scope", "restore"]),
    );
    let made = succeeds(
        &world,
        &[
            "kit",
            "--json",
            "--into",
            "paper",
            "--invite",
            "first.invite",
        ],
    );
    assert!(
        made.contains("outlast-vault invite web1 --scope restore"),
        "{made}"
    );
    let listed = succeeds(&world, &["custodian", "list"]);
    assert!(!listed.contains("restore"), "{listed}");
    let text = read_made(&world, &made).pop().unwrap();

    let clean = World::new();
    clean.write("kit.txt", lines(&text).join("\n"));
    // The second vault has to be asked for a token.
    let said = refused(&clean, &["kit", "--check", "kit.txt"], 1);
    assert!(
        said.contains("second.example: NO: the kit has no token"),
        "{said}"
    );
    assert!(said.contains("2 of 3 copies open"), "{said}");
    clean.write(
        "second.invite",
        second.invite(&["web1", "--scope", "restore"]),
    );
    let with_token = ["--invite", "second.invite"];
    succeeds(
        &clean,
        &[&["kit", "--check", "kit.txt"][..], &with_token].concat(),
    );
    // To the letter, with restic.
    for restic in [tools::restic_014(), tools::restic_019()]
        .into_iter()
        .flatten()
    {
        let stranger = World::new();
        follow(&stranger, &restic, &commands(&text));
        for copy in ["restored-C1", "restored-C3"] {
            assert_restored(&world, &stranger.join(copy));
        }
    }
    // As it was before anything was there, and now.
    let kit = ["recover", "--kit", "kit.txt", "--as-of", "2020-01-01"];
    refused(&clean, &kit, 1);

    // Two fall, in each way: whichever is left is enough.
    drop(second_serving);
    fs::rename(&disk, world.join("away")).unwrap();
    let recover = |name: &str| {
        let target = clean.join(name);
        let target = target.to_str().unwrap();
        succeeds(
            &clean,
            &["recover", "--kit", "kit.txt", "latest", "--target", target],
        )
    };
    let said = recover("from-first");
    assert!(
        said.contains("vault:first.example-restore is set up here"),
        "{said}"
    );
    assert_restored(&world, &clean.join("from-first"));
    let other = ["-r", "vault:first.example-restore"];
    succeeds(
        &clean,
        &["recover", "--kit", "kit.txt", "--password-to", "pw"],
    );
    succeeds(
        &clean,
        &[&other[..], &["-p", "pw", "check", "--read-data"]].concat(),
    );
    succeeds(&clean, &[&other[..], &["export", "plain"]].concat());
    succeeds(&clean, &["-r", "plain", "-p", "pw", "check", "--read-data"]);

    drop(first_serving);
    fs::rename(world.join("away"), &disk).unwrap();
    recover("from-disk");
    assert_restored(&world, &clean.join("from-disk"));
    fs::rename(&disk, world.join("away")).unwrap();
    let said = refused(&clean, &["recover", "--kit", "kit.txt"], 1);
    assert!(said.contains("no copy opens"), "{said}");
}

#[test]
fn a_copy_full_of_garbage_costs_nothing_but_a_line() {
    let world = filled();
    let text = make(&world, &[]).pop().unwrap();
    world.write("kit.txt", lines(&text).join("\n"));
    world.outlast(&["export", "sound"]);
    // Packs that are not what their names say, at the copy on the kit.
    let data = world.join("repository/data");
    for folder in fs::read_dir(data).unwrap() {
        for file in fs::read_dir(folder.unwrap().path()).unwrap() {
            let path = file.unwrap().path();
            let length = fs::metadata(&path).unwrap().len();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            fs::write(&path, vec![7; usize::try_from(length).unwrap()]).unwrap();
        }
    }
    let said = succeeds(
        &world,
        &[
            "recover",
            "--kit",
            "kit.txt",
            "--copy",
            "sound",
            "latest",
            "--target",
            "out",
            "--no-cache",
        ],
    );
    assert!(said.contains("from sound"), "{said}");
    assert_restored(&world, &world.join("out"));
    // Keys and config that are garbage too.
    fs::remove_dir_all(world.join("repository/keys")).unwrap();
    for name in [
        "config",
        "keys/0000000000000000000000000000000000000000000000000000000000000000",
    ] {
        let _ = fs::remove_file(world.join("repository").join(name));
        world.write(&format!("repository/{name}"), [7; 200]);
    }
    let said = succeeds(
        &world,
        &[
            "recover", "--kit", "kit.txt", "--copy", "sound", "latest", "--target", "again",
        ],
    );
    assert!(said.contains("C1 repository: NO"), "{said}");
    assert_restored(&world, &world.join("again"));
}
