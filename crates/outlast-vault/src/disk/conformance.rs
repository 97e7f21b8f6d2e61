//! What every disk must do, whatever it is made of.

use std::io::{ErrorKind, Read, Write};
use std::sync::Barrier;

use super::{Disk, Linked};

/// Runs the whole suite on an empty disk.
pub(super) fn run(disk: &dyn Disk) {
    a_linked_file_is_read_back(disk);
    a_link_does_not_overwrite(disk);
    a_race_for_one_name_has_one_winner(disk);
    a_dropped_file_leaves_nothing(disk);
    ranges_end_where_the_file_ends(disk);
    missing_things_are_told_apart(disk);
    directories_are_made_and_listed(disk);
    appends_go_to_the_end_only(disk);
    replacing_takes_the_whole_content(disk);
    paths_that_lead_elsewhere_are_refused(disk);
    let space = disk.space().unwrap();
    assert!(space.free <= space.total);
}

fn put(disk: &dyn Disk, path: &str, bytes: &[u8]) -> Linked {
    let mut file = disk.create_unnamed().unwrap();
    file.write_all(bytes).unwrap();
    file.flush().unwrap();
    file.sync().unwrap();
    file.link(path).unwrap()
}

fn content(disk: &dyn Disk, path: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    disk.open(path).unwrap().read_to_end(&mut bytes).unwrap();
    bytes
}

fn names(disk: &dyn Disk, path: &str) -> Vec<(String, u64, bool)> {
    let mut names = Vec::new();
    disk.list(path, &mut |listed| {
        let size = if listed.is_directory { 0 } else { listed.size };
        names.push((listed.name.to_owned(), size, listed.is_directory));
    })
    .unwrap();
    names.sort();
    names
}

fn a_linked_file_is_read_back(disk: &dyn Disk) {
    disk.make_directories("linked").unwrap();
    let bytes: Vec<u8> = (0..100_000_u32).map(|at| at.to_le_bytes()[0]).collect();
    assert_eq!(put(disk, "linked/file", &bytes), Linked::New);
    disk.sync_directory("linked").unwrap();
    assert_eq!(content(disk, "linked/file"), bytes);
    assert_eq!(disk.size("linked/file").unwrap(), Some(100_000));
    assert_eq!(put(disk, "linked/empty", b""), Linked::New);
    assert_eq!(content(disk, "linked/empty"), b"");
}

fn a_link_does_not_overwrite(disk: &dyn Disk) {
    disk.make_directories("taken/directory").unwrap();
    assert_eq!(put(disk, "taken/file", b"first"), Linked::New);
    assert_eq!(put(disk, "taken/file", b"second"), Linked::Existed);
    assert_eq!(put(disk, "taken/directory", b"third"), Linked::Existed);
    assert_eq!(content(disk, "taken/file"), b"first");
    let mut file = disk.create_unnamed().unwrap();
    file.write_all(b"x").unwrap();
    let error = file.link("taken/nowhere/file").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

fn a_race_for_one_name_has_one_winner(disk: &dyn Disk) {
    const WRITERS: u8 = 8;
    disk.make_directories("race").unwrap();
    for round in 0..10 {
        let path = format!("race/{round}");
        let start = Barrier::new(usize::from(WRITERS));
        let winners: Vec<u8> = std::thread::scope(|scope| {
            let writers: Vec<_> = (0..WRITERS)
                .map(|writer| {
                    let (path, start) = (&path, &start);
                    scope.spawn(move || {
                        start.wait();
                        (writer, put(disk, path, &[writer; 1000]))
                    })
                })
                .collect();
            let results = writers.into_iter().map(|writer| writer.join().unwrap());
            results
                .filter(|(_, linked)| *linked == Linked::New)
                .map(|(writer, _)| writer)
                .collect()
        });
        assert_eq!(winners.len(), 1);
        assert_eq!(content(disk, &path), [winners[0]; 1000]);
    }
}

fn a_dropped_file_leaves_nothing(disk: &dyn Disk) {
    let before = (names(disk, ""), names(disk, "incoming"));
    let mut file = disk.create_unnamed().unwrap();
    file.write_all(b"never to be seen").unwrap();
    file.sync().unwrap();
    drop(file);
    assert_eq!((names(disk, ""), names(disk, "incoming")), before);
}

fn ranges_end_where_the_file_ends(disk: &dyn Disk) {
    disk.make_directories("ranges").unwrap();
    put(disk, "ranges/file", b"0123456789");
    let range = |offset, length| disk.read_range("ranges/file", offset, length).unwrap();
    assert_eq!(range(0, 4), b"0123");
    assert_eq!(range(3, 4), b"3456");
    assert_eq!(range(8, 4), b"89");
    assert_eq!(range(10, 4), b"");
    assert_eq!(range(u64::MAX, 4), b"");
    assert_eq!(range(4, 0), b"");
    assert_eq!(range(2, usize::MAX), b"23456789");
}

fn missing_things_are_told_apart(disk: &dyn Disk) {
    assert_eq!(disk.size("missing").unwrap(), None);
    assert_eq!(disk.size("missing/too").unwrap(), None);
    let missing = |result: Option<std::io::Error>| {
        assert_eq!(result.unwrap().kind(), ErrorKind::NotFound);
    };
    missing(disk.open("missing").err());
    missing(disk.read_range("missing", 0, 1).err());
    missing(disk.truncate("missing", 0).err());
    missing(disk.append("missing/file", 0, b"x").err());
    missing(disk.replace("missing/file", b"x").err());
    missing(disk.sync_directory("missing").err());
    missing(disk.make_immutable("missing").err());
    assert_eq!(names(disk, "missing"), []);
}

fn directories_are_made_and_listed(disk: &dyn Disk) {
    disk.make_directories("made/one/two").unwrap();
    disk.make_directories("made/one/two").unwrap();
    disk.make_directories("made/other").unwrap();
    disk.make_directories("").unwrap();
    put(disk, "made/file", b"four");
    let expected = [("file", 4, false), ("one", 0, true), ("other", 0, true)];
    let expected = expected.map(|(name, size, is)| (name.to_owned(), size, is));
    assert_eq!(names(disk, "made"), expected);
    assert!(names(disk, "").iter().any(|entry| entry.0 == "made"));
    assert_eq!(disk.size("made/one").unwrap(), None);
    assert!(disk.open("made/one").is_err());
    assert!(disk.make_directories("made/file/below").is_err());
    assert!(disk.make_directories("made/file").is_err());
    disk.sync_directory("").unwrap();
}

fn appends_go_to_the_end_only(disk: &dyn Disk) {
    disk.make_directories("ledger").unwrap();
    disk.append("ledger/journal", 0, b"first").unwrap();
    disk.append("ledger/journal", 5, b" second").unwrap();
    for wrong in [0, 11, 13, u64::MAX] {
        let error = disk.append("ledger/journal", wrong, b"x").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    }
    assert_eq!(content(disk, "ledger/journal"), b"first second");
    let error = disk.truncate("ledger/journal", 13).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    disk.truncate("ledger/journal", 5).unwrap();
    disk.append("ledger/journal", 5, b"!").unwrap();
    assert_eq!(content(disk, "ledger/journal"), b"first!");
}

fn replacing_takes_the_whole_content(disk: &dyn Disk) {
    disk.make_directories("small").unwrap();
    disk.replace("small/file", b"a long first content").unwrap();
    assert_eq!(content(disk, "small/file"), b"a long first content");
    let mut reader = disk.open("small/file").unwrap();
    disk.replace("small/file", b"short").unwrap();
    assert_eq!(content(disk, "small/file"), b"short");
    // Whoever was reading goes on reading what was there.
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes, b"a long first content");
    assert_eq!(names(disk, "small"), [("file".to_owned(), 5, false)]);
    disk.make_directories("small/directory").unwrap();
    assert!(disk.replace("small/directory", b"x").is_err());
}

fn paths_that_lead_elsewhere_are_refused(disk: &dyn Disk) {
    for path in [
        "..",
        "../x",
        "linked/../x",
        "/x",
        "linked//file",
        "./x",
        "x\0y",
        "linked/",
    ] {
        let refused = |result: Option<std::io::Error>| {
            let kind = result.map(|error| error.kind());
            assert_eq!(kind, Some(ErrorKind::InvalidInput), "{path:?}");
        };
        let mut file = disk.create_unnamed().unwrap();
        file.write_all(b"x").unwrap();
        refused(file.link(path).err());
        refused(disk.sync_directory(path).err());
        refused(disk.make_directories(path).err());
        refused(disk.size(path).err());
        refused(disk.open(path).err());
        refused(disk.read_range(path, 0, 1).err());
        refused(disk.list(path, &mut |_| {}).err());
        refused(disk.append(path, 0, b"x").err());
        refused(disk.truncate(path, 0).err());
        refused(disk.replace(path, b"x").err());
        refused(disk.make_immutable(path).err());
    }
}
