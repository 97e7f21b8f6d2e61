//! Streams as a source: standard input and the output of a command, as one file.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use outlast_format::{Mode, Node, NodeKind, Time};
use parking_lot::Mutex;
use rustix::process::{Pid, Signal, kill_process_group};

use crate::targets::clean;
use crate::{Content, Found, Place, Source, SourceError};

/// A file whose content is read from a stream; it can be read once.
pub struct StreamSource {
    path: PathBuf,
    mtime: Time,
    uid: u32,
    gid: u32,
    reader: Mutex<Option<Box<dyn Read + Send>>>,
    command: Option<Arc<Mutex<RunningCommand>>>,
}

impl std::fmt::Debug for StreamSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "StreamSource({})", self.path.display())
    }
}

/// How often it is looked whether a command has ended.
const LOOK_EVERY: Duration = Duration::from_millis(20);

struct RunningCommand {
    program: String,
    child: Child,
    /// It and what it starts are a process group of their own.
    leads_group: bool,
}

impl RunningCommand {
    /// Ends the command, and whatever it has started if they are a process group of their own.
    fn kill(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            // Not reaped yet, so the number cannot belong to anybody else. What has ended in between
            // need not be killed.
            let id = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
            if let Some(group) = id.filter(|_| self.leads_group) {
                let _ = kill_process_group(group, Signal::KILL);
            }
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// A command whose output nobody wants any more must not wait for a reader for ever.
impl Drop for RunningCommand {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Ends the command of a [`StreamSource`] from another thread.
#[derive(Clone)]
pub struct CommandKiller(Arc<Mutex<RunningCommand>>);

impl std::fmt::Debug for CommandKiller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CommandKiller")
    }
}

impl CommandKiller {
    /// Ends it and what it has started, so that whoever waits for its output finds the end. The source
    /// then fails as of a command that failed.
    pub fn kill(&self) {
        self.0.lock().kill();
    }
}

fn snapshot_path(name: &str) -> Result<PathBuf, SourceError> {
    let path = clean(&Path::new("/").join(name));
    if path.file_name().is_none() {
        return Err(SourceError::Invalid(format!(
            "{name:?} is not the name of a file"
        )));
    }
    Ok(path)
}

impl StreamSource {
    /// What `reader` gives, as a file of this name and time.
    pub fn new(name: &str, mtime: Time, reader: Box<dyn Read + Send>) -> Result<Self, SourceError> {
        Ok(Self {
            path: snapshot_path(name)?,
            mtime,
            uid: rustix::process::getuid().as_raw(),
            gid: rustix::process::getgid().as_raw(),
            reader: Mutex::new(Some(reader)),
            command: None,
        })
    }

    /// What a command writes to its standard output. If it fails there will be no snapshot. Its
    /// standard error stays that of this program.
    pub fn from_command(
        name: &str,
        mtime: Time,
        program_and_arguments: &[std::ffi::OsString],
    ) -> Result<Self, SourceError> {
        let Some((program, arguments)) = program_and_arguments.split_first() else {
            return Err(SourceError::Invalid("no command was given".to_owned()));
        };
        let shown = program.to_string_lossy().into_owned();
        let mut command = Command::new(program);
        command
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        // At a terminal it stays in the group of this program: it may have to ask for a password
        // there, and Ctrl-C reaches both.
        let leads_group = File::open("/dev/tty").is_err();
        if leads_group {
            command.process_group(0);
        }
        let mut child = command.spawn().map_err(|error| {
            SourceError::Command(format!("{shown} could not be started: {error}"))
        })?;
        let Some(output) = child.stdout.take() else {
            return Err(SourceError::Command(format!("{shown} has no output")));
        };
        let mut source = Self::new(name, mtime, Box::new(output))?;
        source.command = Some(Arc::new(Mutex::new(RunningCommand {
            program: shown,
            child,
            leads_group,
        })));
        Ok(source)
    }

    /// What ends the command, if there is one.
    pub fn killer(&self) -> Option<CommandKiller> {
        self.command.clone().map(CommandKiller)
    }

    /// The path of the file, for the snapshot.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn file_node(&self, name: &[u8]) -> Node {
        Node {
            name: name.to_vec(),
            mode: Mode(0o644),
            mtime: self.mtime,
            atime: self.mtime,
            ctime: self.mtime,
            uid: self.uid,
            gid: self.gid,
            ..Node::default()
        }
    }
}

impl Source for StreamSource {
    fn root(&self) -> Place {
        Place {
            path: "/".into(),
            number: None,
            disk_path: "/".into(),
        }
    }

    fn names(&self, place: &Place) -> Result<Vec<Vec<u8>>, SourceError> {
        let rest = self.path.strip_prefix(&place.path).unwrap_or(Path::new(""));
        let first = rest.components().next();
        Ok(first
            .iter()
            .map(|name| name.as_os_str().as_encoded_bytes().to_vec())
            .collect())
    }

    fn look(&self, place: &Place, name: &[u8]) -> Result<Option<Found>, SourceError> {
        let rest = self.path.strip_prefix(&place.path).unwrap_or(Path::new(""));
        let Some(first) = rest.components().next() else {
            return Ok(None);
        };
        let path = place.path.join(first);
        let mut node = self.file_node(name);
        let mut next = None;
        if path != self.path {
            node.kind = NodeKind::Directory;
            node.mode = Mode::from_unix(0o040_755);
            next = Some(Place {
                path: path.clone(),
                number: None,
                disk_path: path.clone(),
            });
        }
        Ok(Some(Found {
            disk_path: path.clone(),
            path,
            node,
            place: next,
        }))
    }

    fn open(&self, found: &Found) -> Result<Box<dyn Content>, SourceError> {
        let changed = || SourceError::Changed {
            path: found.path.clone(),
            what: "it was read before",
        };
        let reader = self.reader.lock().take().ok_or_else(changed)?;
        Ok(Box::new(StreamContent {
            node: found.node.clone(),
            reader,
            is_empty: true,
        }))
    }

    fn finish(&self) -> Result<(), SourceError> {
        let Some(command) = &self.command else {
            return Ok(());
        };
        // A command that still writes must not wait for a reader for ever.
        drop(self.reader.lock().take());
        loop {
            let mut command = command.lock();
            let ended = command.child.try_wait();
            let failed = |what: String| SourceError::Command(format!("{} {what}", command.program));
            match ended {
                Ok(Some(status)) if status.success() => return Ok(()),
                Ok(Some(status)) => return Err(failed(format!("ended with {status}"))),
                Ok(None) => {}
                Err(error) => return Err(failed(format!("cannot be waited for: {error}"))),
            }
            // Given back, so that somebody may end a command that has closed its output and stays.
            drop(command);
            std::thread::sleep(LOOK_EVERY);
        }
    }
}

struct StreamContent {
    node: Node,
    reader: Box<dyn Read + Send>,
    is_empty: bool,
}

/// A stream that gives nothing is an error, as in restic: what should have written to it most likely
/// failed.
impl Read for StreamContent {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        if count == 0 && self.is_empty && !buffer.is_empty() {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "no data was read",
            ));
        }
        self.is_empty &= count == 0;
        Ok(count)
    }
}

impl Content for StreamContent {
    fn node(&mut self) -> Result<Node, SourceError> {
        Ok(self.node.clone())
    }
}
