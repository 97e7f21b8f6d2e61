//! Standard input and commands as sources.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot be set up has failed"
)]

use std::ffi::OsString;
use std::io::{Cursor, Read};

use outlast_format::{NodeKind, Time};
use outlast_source::{Found, Source, SourceError, StreamSource};

fn time() -> Time {
    Time::utc(1_000_000_000, 7)
}

fn stream(name: &str, content: &'static [u8]) -> Result<StreamSource, SourceError> {
    StreamSource::new(name, time(), Box::new(Cursor::new(content)))
}

fn command(words: &[&str]) -> Result<StreamSource, SourceError> {
    let words: Vec<OsString> = words.iter().map(OsString::from).collect();
    StreamSource::from_command("dump.sql", time(), &words)
}

/// The one file, and how many directories lead to it.
fn the_file(source: &StreamSource) -> (Found, usize) {
    let mut place = source.root();
    for depth in 0.. {
        let names = source.names(&place).unwrap();
        assert_eq!(names.len(), 1);
        let found = source.look(&place, &names[0]).unwrap().unwrap();
        match found.place.clone() {
            Some(next) => place = next,
            None => return (found, depth),
        }
    }
    unreachable!("a path ends")
}

#[test]
fn a_stream_is_one_file_at_its_path() {
    for (name, path, depth) in [
        ("stdin", "/stdin", 0),
        ("a/b", "/a/b", 1),
        ("/x/../y/z", "/y/z", 1),
    ] {
        let source = stream(name, b"content").unwrap();
        assert_eq!(source.path().to_str(), Some(path));
        let (found, directories) = the_file(&source);
        assert_eq!(directories, depth);
        assert_eq!(found.path.to_str(), Some(path));
        assert_eq!(found.node.kind, NodeKind::File);
        assert_eq!(
            (found.node.mode.permissions(), found.node.mtime),
            (0o644, time())
        );
        let mut text = String::new();
        let mut content = source.open(&found).unwrap();
        content.read_to_string(&mut text).unwrap();
        assert_eq!(text, "content");
        // A stream is read only once.
        assert!(source.open(&found).is_err());
        source.finish().unwrap();
    }
    for bad in ["", "/", "..", "."] {
        assert!(stream(bad, b"").is_err(), "{bad:?}");
    }
}

#[test]
fn a_stream_without_data_is_an_error_of_the_file() {
    let source = stream("stdin", b"").unwrap();
    let (found, _) = the_file(&source);
    let mut content = source.open(&found).unwrap();
    assert!(content.fill(&mut [0; 10]).is_err());
}

#[test]
fn the_output_of_a_command_is_read() {
    let source = command(&["printf", "%s", "hello"]).unwrap();
    let (found, _) = the_file(&source);
    let mut text = String::new();
    source
        .open(&found)
        .unwrap()
        .read_to_string(&mut text)
        .unwrap();
    assert_eq!(text, "hello");
    source.finish().unwrap();
}

#[test]
fn a_command_that_fails_fails_the_backup() {
    for (script, expected) in [("echo x; exit 3", "3"), ("echo x; kill -9 $$", "signal")] {
        let source = command(&["sh", "-c", script]).unwrap();
        let (found, _) = the_file(&source);
        let mut text = String::new();
        source
            .open(&found)
            .unwrap()
            .read_to_string(&mut text)
            .unwrap();
        let error = source.finish().unwrap_err();
        assert!(matches!(error, SourceError::Command(_)));
        assert!(error.to_string().contains(expected), "{error}");
    }
    assert!(command(&[]).is_err());
    assert!(command(&["/nonexistent/program"]).is_err());
}

#[test]
fn a_command_whose_output_nobody_reads_does_not_hang() {
    // It writes for ever, so it ends only because nobody reads, or because it is ended.
    let source = command(&["yes"]).unwrap();
    assert!(source.finish().is_err());
    drop(command(&["yes"]).unwrap());
    let source = command(&["yes"]).unwrap();
    let (found, _) = the_file(&source);
    let mut content = source.open(&found).unwrap();
    content.fill(&mut [0; 100]).unwrap();
    drop(content);
    assert!(source.finish().is_err());
}

/// What the command has started holds its output open, and goes with it.
#[test]
fn a_silent_command_and_what_it_has_started_can_be_ended_from_another_thread() {
    let source = command(&["sh", "-c", "sleep 1000 & wait"]).unwrap();
    let killer = source.killer().unwrap();
    let (found, _) = the_file(&source);
    let mut content = source.open(&found).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| killer.kill());
        // Where there is a terminal, the command itself is all that is ended.
        if std::fs::File::open("/dev/tty").is_err() {
            assert!(content.fill(&mut [0; 10]).is_err());
        }
    });
    let error = source.finish().unwrap_err();
    assert!(error.to_string().contains("signal"), "{error}");
}

#[test]
fn a_command_that_has_closed_its_output_and_stays_can_be_ended() {
    let source = command(&["sh", "-c", "exec >&-; sleep 1000"]).unwrap();
    let killer = source.killer().unwrap();
    std::thread::scope(|scope| {
        let finish = scope.spawn(|| source.finish());
        killer.kill();
        assert!(finish.join().unwrap().is_err());
    });
}
