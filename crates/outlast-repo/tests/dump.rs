//! Dumping files and directories to streams, and how damage ends them.

#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod handmade;

use std::collections::BTreeMap;
use std::io::{Cursor, Read, Write};
use std::path::Path;

use handmade::{Handmade, directory, file, symlink};
use outlast_format::{BlobHandle, ExtendedAttribute, Node, Time};
use outlast_object::Id;
use outlast_repo::{
    ArchiveFormat, Cancel, DumpTarget, RepoError, dump_directory, dump_file, find_dump_target,
};

fn pattern(seed: u8, length: usize) -> Vec<u8> {
    let mut state = u32::from(seed) + 1;
    let next = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..length).map(next).collect()
}

struct Sample {
    repo: Handmade,
    root: Id,
    content: Vec<u8>,
    blobs: Vec<Id>,
}

/// `/a/big` of forty blobs with repetitions, `/a/empty`, `/a/link` and a name too long for ustar.
fn sample() -> Sample {
    let repo = Handmade::new();
    let pieces: Vec<Vec<u8>> = (0..20).map(|seed| pattern(seed, 300_000)).collect();
    let ids = repo.blobs(&pieces);
    let order: Vec<usize> = (0..40).map(|number| number * 7 % 20).collect();
    let blobs: Vec<Id> = order.iter().map(|number| ids[*number]).collect();
    let content: Vec<u8> = order
        .iter()
        .flat_map(|number| pieces[*number].clone())
        .collect();
    let long = "n".repeat(200);
    let small = repo.data(b"small");
    let mut with_attribute = file(&long, &[small], 5);
    with_attribute.extended_attributes = vec![ExtendedAttribute {
        name: "user.comment".into(),
        value: Some(b"hello".to_vec()),
    }];
    with_attribute.mtime = Time::utc(1_000_000_000, 250_000_000);
    let a = repo.tree(&[
        file("big", &blobs, content.len() as u64),
        file("empty", &[], 0),
        symlink("link", "../somewhere"),
        with_attribute,
    ]);
    let root = repo.tree(&[directory("a", a)]);
    Sample {
        repo,
        root,
        content,
        blobs,
    }
}

fn find(sample: &Sample, path: &str) -> Result<DumpTarget, RepoError> {
    find_dump_target(&sample.repo.repository, sample.root, Path::new(path))
}

fn file_at(sample: &Sample, path: &str) -> Node {
    match find(sample, path).unwrap() {
        DumpTarget::File(node) => *node,
        other => panic!("{other:?}"),
    }
}

fn archive(sample: &Sample, path: &str, format: ArchiveFormat) -> Result<Vec<u8>, RepoError> {
    let DumpTarget::Directory(path, tree) = find(sample, path)? else {
        panic!("{path} is no directory");
    };
    let mut output = Vec::new();
    let repository = &sample.repo.repository;
    dump_directory(repository, &path, tree, format, &mut output, &Cancel::new())?;
    Ok(output)
}

#[test]
fn a_file_comes_out_whole_and_in_order() {
    let sample = sample();
    let node = file_at(&sample, "/a/big");
    let mut output = Vec::new();
    let repository = &sample.repo.repository;
    let path = Path::new("/a/big");
    let bytes = dump_file(repository, path, &node, &mut output, &Cancel::new()).unwrap();
    assert_eq!(bytes, sample.content.len() as u64);
    assert!(output == sample.content);
    assert!(matches!(
        find(&sample, "/a/link"),
        Err(RepoError::Selection(_))
    ));
    assert!(matches!(find(&sample, "/b"), Err(RepoError::Selection(_))));
}

#[test]
fn a_tar_file_has_all_metadata() {
    let sample = sample();
    let bytes = archive(&sample, "/", ArchiveFormat::Tar).unwrap();
    let mut entries = tar::Archive::new(Cursor::new(bytes));
    let mut found = BTreeMap::new();
    for entry in entries.entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = entry.path().unwrap().display().to_string();
        let mut records = BTreeMap::new();
        if let Some(extensions) = entry.pax_extensions().unwrap() {
            for record in extensions {
                let record = record.unwrap();
                records.insert(
                    record.key().unwrap().to_owned(),
                    record.value_bytes().to_vec(),
                );
            }
        }
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        found.insert(path, (entry.header().clone(), records, content));
    }
    let long = format!("a/{}", "n".repeat(200));
    let names: Vec<&str> = found.keys().map(String::as_str).collect();
    assert_eq!(names, ["a/", "a/big", "a/empty", "a/link", &long]);
    assert!(found["a/big"].2 == sample.content);
    assert_eq!(found["a/big"].0.mode().unwrap(), 0o644);
    assert_eq!(
        found["a/link"].0.link_name_bytes().unwrap().as_ref(),
        b"../somewhere"
    );
    let (header, records, content) = &found[&long];
    assert_eq!(content, b"small");
    assert_eq!(header.mtime().unwrap(), 1_000_000_000);
    assert_eq!(records["mtime"], b"1000000000.250000000");
    assert_eq!(records["SCHILY.xattr.user.comment"], b"hello");
}

#[test]
fn a_zip_file_has_content_links_and_permissions() {
    let sample = sample();
    let bytes = archive(&sample, "/a", ArchiveFormat::Zip).unwrap();
    let mut archive = zip::ZipArchive::new(Cursor::new(bytes)).unwrap();
    let mut names: Vec<String> = archive
        .file_names()
        .map(|name| name.unwrap().into_owned())
        .collect();
    names.sort();
    assert_eq!(
        names,
        [
            "a/big",
            "a/empty",
            "a/link",
            &format!("a/{}", "n".repeat(200))
        ]
    );
    let mut content = Vec::new();
    let mut big = archive.by_name("a/big").unwrap();
    assert_eq!(big.unix_mode().unwrap() & 0o777, 0o644);
    big.read_to_end(&mut content).unwrap();
    assert!(content == sample.content);
    drop(big);
    assert!(archive.by_name("a/link").unwrap().is_symlink());
}

#[test]
fn damage_ends_a_dump_and_names_the_file() {
    let sample = sample();
    sample.repo.damage(BlobHandle::data(sample.blobs[39]));
    for format in [ArchiveFormat::Tar, ArchiveFormat::Zip] {
        let error = archive(&sample, "/", format).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("/a/big is damaged"), "{text}");
        assert!(text.contains(&sample.blobs[39].to_hex()), "{text}");
    }
    let node = file_at(&sample, "/a/big");
    let mut output = Vec::new();
    let repository = &sample.repo.repository;
    let path = Path::new("/a/big");
    let result = dump_file(repository, path, &node, &mut output, &Cancel::new());
    assert!(matches!(result, Err(RepoError::FileDamaged { .. })));
    assert!(output.len() < sample.content.len());
}

#[test]
fn lying_sizes_and_missing_blobs_and_trees_are_refused() {
    let repo = Handmade::new();
    let blob = repo.data(b"four");
    let nothing = Id::from_bytes([7; 32]);
    for node in [
        file("f", &[blob], 5),
        file("f", &[nothing], 4),
        directory("f", nothing),
    ] {
        let root = repo.tree(&[node]);
        let mut output = Vec::new();
        let (repository, cancel) = (&repo.repository, Cancel::new());
        let format = ArchiveFormat::Tar;
        let result = dump_directory(
            repository,
            Path::new("/"),
            root,
            format,
            &mut output,
            &cancel,
        );
        assert!(
            matches!(result, Err(RepoError::FileDamaged { .. })),
            "{result:?}"
        );
    }
}

struct Closed(usize);

impl Write for Closed {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 = self
            .0
            .checked_sub(bytes.len())
            .ok_or(std::io::ErrorKind::BrokenPipe)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_closed_output_and_a_request_to_stop_end_it() {
    let sample = sample();
    let repository = &sample.repo.repository;
    let cancel = Cancel::new();
    for room in [0, 600, 1_000_000, 11_000_000] {
        for format in [ArchiveFormat::Tar, ArchiveFormat::Zip] {
            let mut output = Closed(room);
            let root = Path::new("/");
            let result =
                dump_directory(repository, root, sample.root, format, &mut output, &cancel);
            assert!(matches!(result, Err(RepoError::Io { .. })), "{result:?}");
        }
    }
    cancel.cancel();
    let mut output = Vec::new();
    let format = ArchiveFormat::Tar;
    let result = dump_directory(
        repository,
        Path::new("/"),
        sample.root,
        format,
        &mut output,
        &cancel,
    );
    assert!(matches!(result, Err(RepoError::Cancelled)));
}

#[test]
fn tar_itself_unpacks_what_was_dumped() {
    let known = std::process::Command::new("tar").arg("--version").output();
    let gnu = known.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains("GNU"));
    if !gnu || !rustix::process::geteuid().is_root() {
        eprintln!("SKIPPED: needs GNU tar and root");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("source");
    handmade::tree::make_tree(&source);
    let repo = Handmade::new();
    let tree = handmade::back_up(&repo, &source);
    let mut output = Vec::new();
    let (repository, root, cancel) = (&repo.repository, Path::new("/"), Cancel::new());
    dump_directory(
        repository,
        root,
        tree,
        ArchiveFormat::Tar,
        &mut output,
        &cancel,
    )
    .unwrap();
    std::fs::write(folder.path().join("dump.tar"), output).unwrap();
    let target = folder.path().join("unpacked");
    std::fs::create_dir(&target).unwrap();
    let status = std::process::Command::new("tar")
        .args(["--xattrs", "--xattrs-include=*", "--numeric-owner", "-xpf"])
        .arg(folder.path().join("dump.tar"))
        .arg("-C")
        .arg(&target)
        .status();
    assert!(status.unwrap().success());
    // Names of one file become files of their own.
    let picture = |path: &Path| -> BTreeMap<_, _> {
        let entries = handmade::compare::picture(path).into_iter();
        let apart = |text: String| {
            let (start, rest) = text.split_once(" links ").unwrap_or((&text, ""));
            let xattrs = rest.split_once(" \"").map_or("", |(_, xattrs)| xattrs);
            format!("{start} {xattrs}")
        };
        entries.map(|(path, text)| (path, apart(text))).collect()
    };
    let (expected, found) = (picture(&source), picture(&target));
    for (path, text) in &expected {
        assert_eq!(Some(text), found.get(path), "{path:?}");
    }
    assert_eq!(expected.len(), found.len());
}
