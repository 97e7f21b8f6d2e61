//! A conversation with an SFTP server: many requests under way at a time, each answer to whom it
//! belongs.
//!
//! A thread writes requests, another one reads answers. Whatever is no answer to anything that was asked
//! ends the conversation; so does silence. Nobody waits for a server that has stopped.

use std::collections::HashMap;
use std::io::{self, BufReader, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, SyncSender};
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;

use super::packet::{PACKET_BYTES_MAX, Request, SftpAnswer, SftpAttributes, SftpEntry, Verb};
use super::transport::{Complaints, Transport};

/// The version that is spoken.
const PROTOCOL_VERSION: u32 = 3;
/// How long a server may take to end in good order.
const CLOSE_WAIT: Duration = Duration::from_secs(2);

/// Why a conversation ends that the other side ended.
const ENDED: &str = "the connection ended";

/// Codes of answers.
const OK: u32 = 0;
const END_OF_FILE: u32 = 1;
const NO_SUCH_FILE: u32 = 2;
/// The user may not do that.
pub(super) const PERMISSION_DENIED: u32 = 3;
/// Anything else.
pub(super) const FAILURE: u32 = 4;
/// What was said makes no sense.
pub(super) const BAD_MESSAGE: u32 = 5;
/// The server cannot do that at all.
pub(super) const NOT_SUPPORTED: u32 = 8;

/// Something did not go as it should.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fault {
    /// There is no conversation any more.
    Lost(String),
    /// There never was one: the host, the login or the program is wrong, most likely.
    Unreachable(String),
    /// The server refuses: the code and its words.
    Refused(u32, String),
}

impl Fault {
    /// Whether there simply is no such file or folder.
    pub(super) fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused(NO_SUCH_FILE, _))
    }
}

/// What the threads share.
struct Shared {
    state: Mutex<State>,
    /// Grows with each packet that is sent or received.
    progress: AtomicU64,
    end: Box<dyn Fn() + Send + Sync>,
}

#[derive(Default)]
struct State {
    /// Who waits for which answer. The first answer has no id.
    waiting: HashMap<Option<u32>, SyncSender<SftpAnswer>>,
    /// Why there is no conversation any more.
    lost: Option<String>,
}

impl Shared {
    /// Ends the conversation. The first reason stays.
    fn lose(&self, reason: &str) {
        {
            let mut state = self.state.lock();
            state.lost.get_or_insert_with(|| reason.to_owned());
            // Whoever waits finds nobody at the other end.
            state.waiting.clear();
        }
        (self.end)();
    }
}

/// A conversation.
pub(super) struct Session {
    outgoing: Option<Sender<Vec<u8>>>,
    shared: Arc<Shared>,
    next: AtomicU32,
    idle: Duration,
    reader_ended: Mutex<Receiver<()>>,
    /// Files can be made durable.
    syncs: bool,
    /// The server says how much room there is.
    tells_room: bool,
}

/// An answer that is to come.
pub(super) struct Ticket<'a> {
    session: &'a Session,
    answer: Receiver<SftpAnswer>,
}

impl Session {
    /// Begins a conversation. It is lost when nothing moves for `idle`.
    pub(super) fn open(transport: Transport, idle: Duration) -> Result<Self, Fault> {
        let Transport {
            output,
            input,
            complaints,
            end,
        } = transport;
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            progress: AtomicU64::new(0),
            end,
        });
        let (outgoing, packets) = mpsc::channel();
        let (ended, reader_ended) = mpsc::channel();
        let writing = Arc::clone(&shared);
        thread::spawn(move || write_all(input, &packets, &writing));
        let reading = Arc::clone(&shared);
        thread::spawn(move || {
            let reason = read_all(output, &reading);
            if reason != ENDED {
                // It goes on, and so would what it says beside.
                (reading.end)();
            }
            reading.lose(&explained(&reason, &complaints));
            let _ = ended.send(());
        });
        let mut session = Self {
            outgoing: Some(outgoing),
            shared,
            next: AtomicU32::new(1),
            idle,
            reader_ended: Mutex::new(reader_ended),
            syncs: false,
            tells_room: false,
        };
        let first = session.send(None, Request::hello()).wait()?;
        let SftpAnswer::Version(PROTOCOL_VERSION.., extensions) = first else {
            return Err(session.lose("it does not speak version 3 of SFTP"));
        };
        let offers = |name: &str, version: &str| {
            let is_it = |(known, data): &(Vec<u8>, Vec<u8>)| {
                known == name.as_bytes() && data == version.as_bytes()
            };
            extensions.iter().any(is_it)
        };
        session.syncs = offers("fsync@openssh.com", "1");
        session.tells_room = offers("statvfs@openssh.com", "2");
        Ok(session)
    }

    /// Whether requests can still be sent.
    pub(super) fn is_alive(&self) -> bool {
        self.shared.state.lock().lost.is_none()
    }

    /// Whether files can be made durable.
    pub(super) fn syncs(&self) -> bool {
        self.syncs
    }

    /// Ends the conversation because of what the server did.
    fn lose(&self, reason: &str) -> Fault {
        self.shared.lose(reason);
        Fault::Lost(reason.to_owned())
    }

    fn lost(&self) -> Fault {
        let reason = self.shared.state.lock().lost.clone();
        Fault::Lost(reason.unwrap_or_else(|| ENDED.to_owned()))
    }

    /// Sends a request; `write` adds what it is about.
    pub(super) fn ask(&self, verb: Verb, write: impl FnOnce(Request) -> Request) -> Ticket<'_> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        self.send(Some(id), write(Request::of(verb, id)).finish())
    }

    /// Sends a request of an extension.
    fn ask_extension(&self, name: &str, about: &[u8]) -> Ticket<'_> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        self.send(Some(id), Request::extended(name, id).text(about).finish())
    }

    /// Has an open file or folder made durable.
    pub(super) fn sync(&self, handle: &[u8]) -> Ticket<'_> {
        self.ask_extension("fsync@openssh.com", handle)
    }

    fn send(&self, id: Option<u32>, packet: Vec<u8>) -> Ticket<'_> {
        let (send, answer) = mpsc::sync_channel(1);
        let mut state = self.shared.state.lock();
        if state.lost.is_none() {
            state.waiting.insert(id, send);
            if let Some(outgoing) = &self.outgoing {
                // Where nobody writes any more, the conversation is about to be lost.
                let _ = outgoing.send(packet);
            }
        }
        Ticket {
            session: self,
            answer,
        }
    }

    /// Bytes that are free for this user in the file system of a folder, if the server tells.
    pub(super) fn room(&self, folder: &str) -> Option<u64> {
        if !self.tells_room {
            return None;
        }
        let ticket = self.ask_extension("statvfs@openssh.com", folder.as_bytes());
        let Ok(SftpAnswer::Extended(bytes)) = ticket.wait() else {
            return None;
        };
        let number = |at: usize| {
            let bytes = bytes.get(at * 8..at * 8 + 8)?.try_into().ok()?;
            Some(u64::from_be_bytes(bytes))
        };
        // The second is the size of a block, the fifth how many are available.
        Some(number(1)?.saturating_mul(number(4)?))
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // The writer ends, with it the server's input, and so the server.
        self.outgoing = None;
        let _ = self.reader_ended.lock().recv_timeout(CLOSE_WAIT);
        (self.shared.end)();
    }
}

impl Ticket<'_> {
    /// Waits for the answer, as long as anything moves.
    fn wait(self) -> Result<SftpAnswer, Fault> {
        let progress = &self.session.shared.progress;
        let mut seen = progress.load(Ordering::Relaxed);
        loop {
            match self.answer.recv_timeout(self.session.idle) {
                Ok(answer) => return Ok(answer),
                Err(RecvTimeoutError::Disconnected) => return Err(self.session.lost()),
                Err(RecvTimeoutError::Timeout) => {
                    let now = progress.load(Ordering::Relaxed);
                    if now == seen {
                        let seconds = self.session.idle.as_secs_f32();
                        let reason = format!("nothing moved for {seconds} seconds");
                        return Err(self.session.lose(&reason));
                    }
                    seen = now;
                }
            }
        }
    }

    /// Lost, since the answer is not to what was asked; or what the server refuses.
    fn other<T>(session: &Session, answer: SftpAnswer) -> Result<T, Fault> {
        match answer {
            SftpAnswer::Status(code, words) if code != OK => Err(Fault::Refused(code, words)),
            _ => Err(session.lose("its answer is not to what was asked")),
        }
    }

    /// It was done.
    pub(super) fn done(self) -> Result<(), Fault> {
        let session = self.session;
        match self.wait()? {
            SftpAnswer::Status(OK, _) => Ok(()),
            other => Self::other(session, other),
        }
    }

    /// Something was opened.
    pub(super) fn handle(self) -> Result<Vec<u8>, Fault> {
        let session = self.session;
        match self.wait()? {
            SftpAnswer::Handle(handle) => Ok(handle),
            other => Self::other(session, other),
        }
    }

    /// What is known of a file.
    pub(super) fn attributes(self) -> Result<SftpAttributes, Fault> {
        let session = self.session;
        match self.wait()? {
            SftpAnswer::Attributes(attributes) => Ok(attributes),
            other => Self::other(session, other),
        }
    }

    /// At least one byte, and `most` at most; none at the end of the file.
    pub(super) fn data(self, most: usize) -> Result<Option<Vec<u8>>, Fault> {
        let session = self.session;
        match self.wait()? {
            SftpAnswer::Data(data) if !data.is_empty() && data.len() <= most => Ok(Some(data)),
            SftpAnswer::Status(END_OF_FILE, _) => Ok(None),
            other => Self::other(session, other),
        }
    }

    /// At least one file of a folder; none at its end.
    pub(super) fn names(self) -> Result<Option<Vec<SftpEntry>>, Fault> {
        let session = self.session;
        match self.wait()? {
            SftpAnswer::Names(names) if !names.is_empty() => Ok(Some(names)),
            SftpAnswer::Status(END_OF_FILE, _) => Ok(None),
            other => Self::other(session, other),
        }
    }
}

/// Writes until there is nobody left who could ask.
fn write_all(mut input: Box<dyn Write + Send>, packets: &Receiver<Vec<u8>>, shared: &Shared) {
    for packet in packets {
        let written = input.write_all(&packet).and_then(|()| input.flush());
        if written.is_err() {
            // The reader finds the reason: the other side says it before it goes.
            return;
        }
        shared.progress.fetch_add(1, Ordering::Relaxed);
    }
}

/// Hands answers out until there are no more; says why.
fn read_all(output: Box<dyn Read + Send>, shared: &Shared) -> String {
    let mut output = BufReader::with_capacity(PACKET_BYTES_MAX, output);
    loop {
        let packet = match read_packet(&mut output) {
            Ok(Some(packet)) => packet,
            Ok(None) => {
                let hint = "does something print text when the other side logs in?";
                return format!("it sent what is no SFTP packet; {hint}");
            }
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return ENDED.to_owned();
            }
            Err(error) => return error.to_string(),
        };
        shared.progress.fetch_add(1, Ordering::Relaxed);
        let Ok((id, answer)) = SftpAnswer::parse(&packet) else {
            return "it sent what is no SFTP answer".to_owned();
        };
        let Some(waiting) = shared.state.lock().waiting.remove(&id) else {
            return "it answered what nobody asked".to_owned();
        };
        // Some answers nobody waits for.
        let _ = waiting.send(answer);
    }
}

/// The next packet without its length; none if it is none.
fn read_packet(output: &mut impl Read) -> io::Result<Option<Vec<u8>>> {
    let mut length = [0; 4];
    output.read_exact(&mut length)?;
    let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    if length == 0 || length > PACKET_BYTES_MAX {
        return Ok(None);
    }
    let mut packet = vec![0; length];
    output.read_exact(&mut packet)?;
    Ok(Some(packet))
}

/// The reason, with what was said on standard error.
fn explained(reason: &str, complaints: &Complaints) -> String {
    match complaints.last_words() {
        words if words.is_empty() => reason.to_owned(),
        words => format!("{reason}: {words}"),
    }
}
