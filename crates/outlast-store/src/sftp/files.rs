//! Files and folders at the other side: whole reads and writes, many requests at a time.

use std::collections::VecDeque;
use std::hash::{BuildHasher, Hasher};

use super::packet::{OPEN_NEW, OPEN_READ, SftpAttributes, SftpEntry, Verb};
use super::session::{BAD_MESSAGE, FAILURE, Fault, Session, Ticket};

/// Bytes of a file in one packet: what every server takes.
const PIECE_BYTES: usize = 32 * 1024;
/// Requests for pieces that are under way at a time for one file.
const WINDOW: usize = 64;
/// What the names of temporary files begin with, as in local folders.
pub(super) const TEMPORARY_PREFIX: &str = ".outlast-tmp-";

/// Permissions of what is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Modes {
    /// Of files.
    pub file: u32,
    /// Of folders.
    pub folder: u32,
}

/// What became of a write.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Written {
    /// The bytes are there.
    Whole,
    /// Other bytes have the name; they were not touched.
    OtherBytes,
}

/// A file or folder that is open at the other side until this is dropped.
pub(super) struct Open<'a> {
    session: &'a Session,
    handle: Vec<u8>,
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        // Nobody waits for the answer: what was read is read, and what was written is closed by
        // `close`, which waits.
        if !self.handle.is_empty() {
            let _ = self.send_close();
        }
    }
}

impl<'a> Open<'a> {
    fn send_close(&self) -> Ticket<'a> {
        let handle = &self.handle;
        self.session.ask(Verb::Close, |of| of.text(handle))
    }

    /// Closes it, which shows whether everything arrived.
    fn close(mut self) -> Ticket<'a> {
        let ticket = self.send_close();
        self.handle.clear();
        ticket
    }

    /// What is known of it.
    pub(super) fn attributes(&self) -> Result<SftpAttributes, Fault> {
        let asked = self.session.ask(Verb::StatOpen, |of| of.text(&self.handle));
        asked.attributes()
    }

    fn ask_piece(&self, offset: u64, length: usize) -> Ticket<'a> {
        let length = u32::try_from(length).unwrap_or(u32::MAX);
        self.session.ask(Verb::Read, |of| {
            of.text(&self.handle).large(offset).number(length)
        })
    }

    /// Exactly `length` bytes from `offset` on, or fewer if the file ends before. Memory is taken as
    /// bytes arrive.
    pub(super) fn read(&self, offset: u64, length: usize) -> Result<Vec<u8>, Fault> {
        let mut pieces = VecDeque::new();
        let mut asked = 0;
        let mut bytes = Vec::new();
        while bytes.len() < length {
            while pieces.len() < WINDOW && asked < length {
                let piece = PIECE_BYTES.min(length - asked);
                pieces.push_back((self.ask_piece(offset + asked as u64, piece), piece));
                asked += piece;
            }
            let Some((ticket, mut wanted)) = pieces.pop_front() else {
                break;
            };
            let mut got = ticket.data(wanted)?;
            // A server may give less at a time; the rest of the piece is asked for again.
            while let Some(data) = got {
                bytes.extend_from_slice(&data);
                wanted -= data.len();
                if wanted == 0 {
                    break;
                }
                let rest = self.ask_piece(offset + bytes.len() as u64, wanted);
                got = rest.data(wanted)?;
            }
            if wanted > 0 {
                break;
            }
        }
        Ok(bytes)
    }

    fn write(&self, bytes: &[u8]) -> Result<(), Fault> {
        let mut under_way = VecDeque::new();
        for (number, piece) in bytes.chunks(PIECE_BYTES).enumerate() {
            if under_way.len() >= WINDOW
                && let Some(oldest) = under_way.pop_front()
            {
                Ticket::done(oldest)?;
            }
            let offset = (number * PIECE_BYTES) as u64;
            under_way.push_back(self.session.ask(Verb::Write, |of| {
                of.text(&self.handle).large(offset).text(piece)
            }));
        }
        under_way.into_iter().try_for_each(Ticket::done)
    }
}

impl Session {
    /// What is known of a file; a link is followed.
    pub(super) fn stat(&self, path: &str) -> Result<SftpAttributes, Fault> {
        self.ask(Verb::Stat, |of| of.text(path.as_bytes()))
            .attributes()
    }

    /// Opens a file to read it.
    pub(super) fn open_file(&self, path: &str) -> Result<Open<'_>, Fault> {
        let asked = self.ask(Verb::Open, |of| {
            of.text(path.as_bytes()).number(OPEN_READ).number(0)
        });
        self.opened(asked)
    }

    fn opened<'a>(&'a self, ticket: Ticket<'_>) -> Result<Open<'a>, Fault> {
        let handle = ticket.handle()?;
        Ok(Open {
            session: self,
            handle,
        })
    }

    /// Removes a file.
    pub(super) fn remove(&self, path: &str) -> Result<(), Fault> {
        self.ask(Verb::Remove, |of| of.text(path.as_bytes())).done()
    }

    /// Makes folders, many at a time. Those that are there already are left as they are: whatever else
    /// is wrong shows when something is written there.
    pub(super) fn make_folders(&self, paths: &[String], mode: u32) -> Result<(), Fault> {
        for some in paths.chunks(WINDOW) {
            let make = |path: &String| {
                let asked = |of: super::packet::Request| of.text(path.as_bytes());
                self.ask(Verb::MakeFolder, |of| asked(of).permissions(mode))
            };
            let under_way: Vec<_> = some.iter().map(make).collect();
            for (path, ticket) in some.iter().zip(under_way) {
                match ticket.done() {
                    // The protocol has no word for what is there already.
                    Err(Fault::Refused(FAILURE, words)) => {
                        let is_folder = self.stat(path).map(|known| known.is_folder());
                        if !matches!(is_folder, Ok(Some(true) | None)) {
                            return Err(Fault::Refused(FAILURE, words));
                        }
                    }
                    other => other?,
                }
            }
        }
        Ok(())
    }

    /// The entries of a folder, `entries_max` at most; none where there is no folder.
    pub(super) fn entries(
        &self,
        folder: &str,
        entries_max: usize,
    ) -> Result<Vec<SftpEntry>, Fault> {
        let asked = self.ask(Verb::OpenFolder, |of| of.text(folder.as_bytes()));
        let open = match self.opened(asked) {
            Err(fault) if fault.is_not_found() => return Ok(Vec::new()),
            other => other?,
        };
        let mut all = Vec::new();
        loop {
            let asked = self.ask(Verb::ReadFolder, |of| of.text(&open.handle));
            let Some(names) = asked.names()? else {
                return Ok(all);
            };
            all.extend(names);
            if all.len() > entries_max {
                let reason = format!("{folder} has more than {entries_max} entries");
                return Err(Fault::Refused(BAD_MESSAGE, reason));
            }
        }
    }

    /// Makes `bytes` the durable content of a file, or finds that it already is.
    ///
    /// Read from top to bottom; each step says what a crash right after it leaves behind.
    pub(super) fn publish(
        &self,
        folder: &str,
        file_name: &str,
        bytes: &[u8],
        modes: Modes,
    ) -> Result<Written, Fault> {
        let target = joined(folder, file_name);
        // Nothing is written for an object that is already there.
        match self.stat(&target) {
            Err(fault) if fault.is_not_found() => {}
            known => return self.settle(&target, known?, bytes),
        }

        // A crash leaves a temporary file, which listings pass over and which is removed a day later.
        let temporary = joined(folder, &temporary_name());
        let asked = self.ask(Verb::Open, |of| {
            let of = of.text(temporary.as_bytes()).number(OPEN_NEW);
            of.permissions(modes.file | 0o200)
        });
        let open = self.opened(asked)?;
        let written = self.fill(open, bytes, modes);

        // A crash leaves the same. Renaming by this request replaces nothing: where somebody was
        // faster it is refused. After it the object has its name, and all its bytes.
        let renamed = written.and_then(|()| {
            let asked = self.ask(Verb::Rename, |of| {
                of.text(temporary.as_bytes()).text(target.as_bytes())
            });
            asked.done()
        });
        if let Err(fault) = renamed {
            // What is there now, be it ours or another's, decides; nothing is there if it failed.
            let settled = match self.stat(&target) {
                Ok(known) => self.settle(&target, known, bytes),
                Err(_) => Err(fault),
            };
            let _ = self.remove(&temporary);
            return settled;
        }

        // A crash could have taken the name away again until here.
        self.sync_folder(folder)?;
        Ok(Written::Whole)
    }

    /// Writes everything, to the disk where the server can be asked for that, and closes.
    fn fill(&self, open: Open<'_>, bytes: &[u8], modes: Modes) -> Result<(), Fault> {
        open.write(bytes)?;
        let asked = self.ask(Verb::SetOpen, |of| {
            of.text(&open.handle).permissions(modes.file)
        });
        let synced = self.syncs().then(|| self.sync(&open.handle));
        let closed = open.close();
        // Permissions are a courtesy, which not all file systems have.
        match asked.done() {
            Err(fault @ Fault::Lost(_)) => return Err(fault),
            _ => synced.map_or(Ok(()), Ticket::done)?,
        }
        closed.done()
    }

    /// Has the names in a folder made durable. OpenSSH can do that, though no document says so; where it
    /// is refused, the server's file system has to see to it.
    pub(super) fn sync_folder(&self, folder: &str) -> Result<(), Fault> {
        if !self.syncs() {
            return Ok(());
        }
        let synced = self
            .open_file(folder)
            .and_then(|open| self.sync(&open.handle).done());
        match synced {
            Err(fault @ Fault::Lost(_)) => Err(fault),
            _ => Ok(()),
        }
    }

    /// Whether what is there under a name is what was to be written.
    fn settle(&self, target: &str, known: SftpAttributes, bytes: &[u8]) -> Result<Written, Fault> {
        if known.size.is_some_and(|size| size != bytes.len() as u64) {
            return Ok(Written::OtherBytes);
        }
        let open = self.open_file(target)?;
        // One more shows whether it goes on.
        let found = open.read(0, bytes.len().saturating_add(1))?;
        if found != bytes {
            return Ok(Written::OtherBytes);
        }
        // Whoever wrote it may have stopped before it was durable.
        if self.syncs() {
            // Some systems sync only what is open for writing.
            if let Err(fault @ Fault::Lost(_)) = self.sync(&open.handle).done() {
                return Err(fault);
            }
        }
        if let Some((folder, _)) = target.rsplit_once('/') {
            self.sync_folder(folder)?;
        }
        Ok(Written::Whole)
    }
}

/// The path of something in a folder.
pub(super) fn joined(folder: &str, name: &str) -> String {
    match folder.ends_with('/') {
        true => format!("{folder}{name}"),
        false => format!("{folder}/{name}"),
    }
}

/// A name that no other writer has. Where it were taken after all, the write is refused and tried again.
fn temporary_name() -> String {
    // Every state of this kind has keys of its own, made from the system's randomness.
    let random = || {
        let state = std::collections::hash_map::RandomState::new();
        state.build_hasher().finish()
    };
    format!("{TEMPORARY_PREFIX}{:016x}{:016x}", random(), random())
}
