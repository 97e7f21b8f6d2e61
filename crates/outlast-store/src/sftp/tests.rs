//! Servers that misbehave: each ends in an error that may be tried again, or in the truth, and none in a
//! panic, in memory that it chooses, or in waiting for ever.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use outlast_object::{ObjectKind, ObjectName, hash};
use parking_lot::Mutex;
use proptest::prelude::*;

use super::packet::PACKET_BYTES_MAX;
use super::transport::Complaints;
use super::*;
use crate::Location;

/// Longer than any test takes.
const PATIENT: Duration = Duration::from_secs(60);
/// For servers that never answer.
const IMPATIENT: Duration = Duration::from_millis(200);

const STATUS_OK: u32 = 0;
const NO_SUCH_FILE: u32 = 2;

/// Our end of a connection, which says goodbye when nothing more will be written.
struct Input(UnixStream);

impl Write for Input {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl Drop for Input {
    fn drop(&mut self) {
        let _ = self.0.shutdown(Shutdown::Write);
    }
}

/// A store at a server that this function is, once for each connection.
fn store(idle: Duration, serve: impl Fn(UnixStream) + Send + Sync + 'static) -> SftpStore {
    let Location::Sftp(location) = Location::parse("sftp:host:/r").unwrap() else {
        panic!("no SFTP location");
    };
    let serve = Arc::new(serve);
    let connect = move || {
        let (ours, theirs) = UnixStream::pair().map_err(|error| error.to_string())?;
        let serve = Arc::clone(&serve);
        thread::spawn(move || serve(theirs));
        let again = || ours.try_clone().map_err(|error| error.to_string());
        let (input, ending) = (again()?, again()?);
        Ok(Transport {
            output: Box::new(ours),
            input: Box::new(Input(input)),
            complaints: Complaints::of(&b"it complains\n"[..]),
            end: Box::new(move || {
                let _ = ending.shutdown(Shutdown::Both);
            }),
        })
    };
    SftpStore::over(&location, Box::new(connect), idle)
}

/// The next request: its kind, its id and the rest.
fn request(stream: &mut impl Read) -> Option<(u8, u32, Vec<u8>)> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).ok()?;
    let mut packet = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut packet).ok()?;
    let id = packet.get(1..5)?.try_into().ok()?;
    Some((packet[0], u32::from_be_bytes(id), packet.split_off(5)))
}

fn hello(stream: &mut UnixStream) {
    let _ = request(stream);
    let _ = stream.write_all(&SftpAnswer::Version(3, Vec::new()).encode(0));
}

fn status(code: u32, id: u32) -> Vec<u8> {
    SftpAnswer::Status(code, "words".to_owned()).encode(id)
}

fn attributes(size: u64) -> SftpAnswer {
    SftpAnswer::Attributes(SftpAttributes {
        size: Some(size),
        permissions: Some(0o100_600),
        modified: None,
    })
}

/// Serves by a function from requests to the bytes of answers.
fn answering(
    idle: Duration,
    answer: impl Fn(u8, u32, &[u8]) -> Vec<u8> + Send + Sync + 'static,
) -> SftpStore {
    store(idle, move |mut stream| {
        hello(&mut stream);
        while let Some((kind, id, rest)) = request(&mut stream) {
            if stream.write_all(&answer(kind, id, &rest)).is_err() {
                return;
            }
        }
    })
}

/// A server with one file of this size, that reads as `piece` says: offset and length to bytes.
fn with_file(size: u64, piece: impl Fn(u64, u32) -> Vec<u8> + Send + Sync + 'static) -> SftpStore {
    answering(PATIENT, move |kind, id, rest| match kind {
        // Open, close, read, and what is known of it.
        3 => SftpAnswer::Handle(b"h".to_vec()).encode(id),
        4 => status(STATUS_OK, id),
        5 => {
            let number = |at: usize| u32::from_be_bytes(rest[at..at + 4].try_into().unwrap());
            let offset = u64::from(number(5)) << 32 | u64::from(number(9));
            SftpAnswer::Data(piece(offset, number(13))).encode(id)
        }
        8 => attributes(size).encode(id),
        _ => status(NO_SUCH_FILE, id),
    })
}

fn pack() -> ObjectName {
    ObjectName::pack(hash(b"pack"))
}

/// What a server did ended the connection, now or when it began.
fn lost<T: std::fmt::Debug>(result: Result<T, StoreError>, why: &str) {
    let error = result.unwrap_err();
    let is_unreachable = matches!(error, StoreError::Location(_));
    assert!(error.is_retryable() || is_unreachable, "{error}");
    assert!(error.to_string().contains(why), "{error}");
}

#[test]
fn what_is_no_sftp_ends_with_what_was_said_beside() {
    for (bytes, why) in [
        (
            &b"Welcome to this server!\n"[..],
            "prints text|no SFTP packet",
        ),
        (&[0, 0, 0, 0], "no SFTP packet"),
        (&[0, 4, 0, 1, 2], "no SFTP packet"),
        (&[0, 0, 0, 5, 2, 0, 0, 0, 2], "version 3"),
        (&[0, 0, 0, 5, 2, 0], "ended"),
        (&[0, 0, 0, 5, 99, 0, 0, 0, 2], "no SFTP answer"),
        (&[0, 0, 0, 9, 101, 0, 0, 0, 2, 0, 0, 0, 0], "nobody asked"),
        (&[], "ended"),
    ] {
        let store = store(PATIENT, move |mut stream| {
            let _ = request(&mut stream);
            let _ = stream.write_all(bytes);
        });
        let error = store.read(&pack()).unwrap_err();
        // Nothing worked yet, so that it is not tried again and again.
        assert!(!error.is_retryable(), "{error}");
        let said = error.to_string();
        assert!(why.split('|').any(|why| said.contains(why)), "{said}");
        assert!(
            said.contains("it complains") || why == "version 3",
            "{said}"
        );
    }
}

#[test]
fn answers_that_were_not_asked_for_end_it() {
    let wrong = answering(PATIENT, |_, id, _| status(NO_SUCH_FILE, id + 7));
    lost(wrong.size(&pack()), "nobody asked");
    let twice = answering(PATIENT, |_, id, _| {
        [status(NO_SUCH_FILE, id), status(NO_SUCH_FILE, id)].concat()
    });
    // The first answer may be believed before the second one is seen.
    for _ in 0..20 {
        if let Err(error) = twice.size(&pack()) {
            let text = error.to_string();
            assert!(
                error.is_not_found() || text.contains("nobody asked"),
                "{error}"
            );
        }
    }
    let other = answering(PATIENT, |_, id, _| SftpAnswer::Handle(vec![1]).encode(id));
    lost(other.size(&pack()), "not to what was asked");
    let fine = answering(PATIENT, |_, id, _| status(STATUS_OK, id));
    lost(fine.size(&pack()), "not to what was asked");
    let large = answering(PATIENT, |_, _, _| vec![0xff; 64]);
    lost(large.size(&pack()), "no SFTP packet");
    let torn = answering(PATIENT, |_, id, _| {
        let mut packet = attributes(9).encode(id);
        packet[3] -= 4;
        packet.truncate(packet.len() - 4);
        packet
    });
    lost(torn.size(&pack()), "no SFTP answer");
}

#[test]
fn silence_is_not_waited_out() {
    let silent = store(
        IMPATIENT,
        |mut stream| while request(&mut stream).is_some() {},
    );
    lost(silent.read(&pack()), "nothing moved");
    let silent = answering(IMPATIENT, |_, _, _| Vec::new());
    lost(silent.list_all(ObjectKind::Pack), "nothing moved");
    // One that does not even read, so that nothing more can be sent.
    let kept = Mutex::new(Vec::new());
    let deaf = store(IMPATIENT, move |mut stream| {
        hello(&mut stream);
        let refused = SftpAnswer::Status(NO_SUCH_FILE, String::new());
        let answers = [refused.clone(), refused, SftpAnswer::Handle(vec![1])];
        for answer in answers {
            let Some((_, id, _)) = request(&mut stream) else {
                return;
            };
            let _ = stream.write_all(&answer.encode(id));
        }
        kept.lock().push(stream);
    });
    lost(deaf.write(&pack(), &[7; 4_000_000]), "nothing moved");
}

#[test]
fn sizes_that_are_claimed_are_not_believed() {
    let endless = with_file(u64::MAX, |_, length| vec![1; length as usize]);
    let refused = endless.read(&pack()).unwrap_err();
    assert!(matches!(refused, StoreError::TooLarge { .. }), "{refused}");
    let outside = endless.read_range(&pack(), u64::MAX - 3, 9).unwrap_err();
    assert!(matches!(outside, StoreError::Truncated { .. }), "{outside}");

    let short = with_file(1_000_000, |offset, length| {
        let left = 100_000_u64.saturating_sub(offset).min(length.into());
        vec![1; left as usize]
    });
    lost(short.read(&pack()), "not to what was asked");
    let more = with_file(9, |_, length| vec![1; length as usize + 1]);
    lost(more.read(&pack()), "not to what was asked");
    // A byte at a time is slow, and correct.
    let crumbs = with_file(300, |offset, _| vec![offset as u8]);
    let expected: Vec<u8> = (0..300_u32).map(|byte| byte as u8).collect();
    assert_eq!(crumbs.read(&pack()).unwrap(), expected);
    assert_eq!(
        crumbs.read_range(&pack(), 7, 3).unwrap(),
        expected[7..10].to_vec()
    );
    let outside = crumbs.read_range(&pack(), 290, 20).unwrap_err();
    assert!(matches!(outside, StoreError::Truncated { .. }), "{outside}");
}

#[test]
fn listings_end() {
    let entry = |name: &[u8]| SftpEntry {
        name: name.to_vec(),
        attributes: SftpAttributes::default(),
    };
    let listing = move |names: Vec<SftpEntry>| {
        answering(PATIENT, move |kind, id, _| match kind {
            11 => SftpAnswer::Handle(vec![1]).encode(id),
            12 => SftpAnswer::Names(names.clone()).encode(id),
            _ => status(NO_SUCH_FILE, id),
        })
    };
    let mut endless = listing(vec![entry(b"x"); 100]);
    endless.entries_max = 1000;
    let refused = endless.list_all(ObjectKind::Index).unwrap_err();
    assert!(!refused.is_retryable(), "{refused}");
    assert!(refused.to_string().contains("more than 1000 entries"));
    lost(
        listing(Vec::new()).list_all(ObjectKind::Index),
        "not to what",
    );
    // Names that are none are passed over, wherever they would lead.
    let answered = AtomicUsize::new(0);
    let names: Vec<SftpEntry> = [&b"../x"[..], b".", b"..", b"", &[0xff; 64], b"/etc/passwd"]
        .map(entry)
        .into();
    let strange = answering(PATIENT, move |kind, id, _| match kind {
        11 => SftpAnswer::Handle(vec![1]).encode(id),
        12 if answered.fetch_add(1, Ordering::Relaxed) == 0 => {
            SftpAnswer::Names(names.clone()).encode(id)
        }
        12 => status(1, id),
        _ => status(NO_SUCH_FILE, id),
    });
    assert_eq!(strange.list_all(ObjectKind::Index).unwrap(), []);
}

#[test]
fn a_lost_connection_is_made_anew() {
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&connections);
    let store = store(PATIENT, move |mut stream| {
        let number = counted.fetch_add(1, Ordering::Relaxed);
        hello(&mut stream);
        // Each one answers two requests.
        for _ in 0..2 {
            let Some((_, id, _)) = request(&mut stream) else {
                return;
            };
            let _ = stream.write_all(&match number {
                0 => status(NO_SUCH_FILE, id),
                _ => attributes(5).encode(id),
            });
        }
    });
    assert!(store.size(&pack()).unwrap_err().is_not_found());
    // The first connection is dead by now, or is found to be.
    let found = std::iter::repeat_with(|| store.size(&pack()));
    let found = found.take(10).find_map(Result::ok);
    assert_eq!(found, Some(5));
    assert!(connections.load(Ordering::Relaxed) >= 2);
}

#[test]
fn refusals_say_what_they_mean() {
    for (code, is_retryable, why) in [(3, false, "words"), (4, true, "words"), (8, false, "words")]
    {
        let store = answering(PATIENT, move |_, id, _| status(code, id));
        let error = store.read(&pack()).unwrap_err();
        assert_eq!(error.is_retryable(), is_retryable, "{error}");
        assert!(error.to_string().contains(why), "{error}");
    }
    assert_eq!(reason(3, ""), "permission denied");
}

#[test]
fn a_failed_step_of_a_write_leaves_nothing_under_the_name() {
    // Open, write, attributes, close and rename fail in turn.
    for failing in [3, 6, 4, 18] {
        let names = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&names);
        let store = answering(PATIENT, move |kind, id, rest| {
            seen.lock().push(kind);
            match kind {
                _ if kind == failing => status(4, id),
                3 => SftpAnswer::Handle(vec![1]).encode(id),
                17 => status(NO_SUCH_FILE, id),
                _ => {
                    let _ = rest;
                    status(STATUS_OK, id)
                }
            }
        });
        let error = store.write(&pack(), b"bytes").unwrap_err();
        assert!(error.is_retryable(), "{failing}: {error}");
        let asked = names.lock().clone();
        let renamed = asked.contains(&18);
        assert_eq!(renamed, failing == 18, "{asked:?}");
        // The temporary file is removed, if there is one.
        assert_eq!(asked.contains(&13), failing != 3, "{asked:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn junk_after_a_greeting_is_an_error(junk in proptest::collection::vec(any::<u8>(), 0..400)) {
        let store = store(PATIENT, move |mut stream| {
            hello(&mut stream);
            let _ = stream.write_all(&junk);
        });
        prop_assert!(store.read(&pack()).is_err());
    }

    #[test]
    fn junk_in_answers_is_an_error_or_an_answer(
        kind in 101_u8..106, junk in proptest::collection::vec(any::<u8>(), 0..60)
    ) {
        let store = answering(PATIENT, move |_, id, _| {
            let length = (junk.len() + 5) as u32;
            [&length.to_be_bytes()[..], &[kind], &id.to_be_bytes(), &junk].concat()
        });
        let _ = store.size(&pack());
        let _ = store.list_all(ObjectKind::Snapshot);
        let _ = store.read(&pack());
        let _ = store.write(&pack(), b"bytes");
    }
}

#[test]
fn no_packet_that_is_sent_is_too_large() {
    let largest = super::packet::Request::of(super::packet::Verb::Write, 1)
        .text(&[7; 256])
        .large(1)
        .text(&[7; 32 * 1024]);
    assert!(largest.finish().len() < PACKET_BYTES_MAX.min(34_000));
}
