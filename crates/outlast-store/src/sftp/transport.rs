//! The child process that carries SFTP: the system's ssh, or a command of the user's choice.

use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;

use super::location::SftpLocation;

/// Bytes of what ssh complains about that are remembered.
const COMPLAINT_BYTES_MAX: usize = 2048;
/// How long the last words of a process that ended are waited for.
const LAST_WORDS_WAIT: Duration = Duration::from_secs(2);
/// Secrets that neither ssh nor the other side need.
const SECRETS: [&str; 3] = [
    "RESTIC_PASSWORD",
    "RESTIC_FROM_PASSWORD",
    "RESTIC_REST_PASSWORD",
];

/// What a location behind SFTP does not say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SftpOptions {
    /// The program that carries SFTP over its standard input and output, with its arguments, in place of
    /// ssh.
    pub command: Option<Vec<String>>,
    /// Further arguments of ssh.
    pub arguments: Vec<String>,
    /// The repository's folder is there already: where it is missing, so is the disk that was mounted
    /// there, and nothing is made in its place.
    pub is_there: bool,
}

impl SftpOptions {
    /// The program to run, and its arguments.
    fn words(&self, location: &SftpLocation) -> (String, Vec<String>) {
        if let Some((program, arguments)) = self.command.as_ref().and_then(|all| all.split_first())
        {
            return (program.clone(), arguments.to_vec());
        }
        let mut words = Vec::new();
        if let Some(port) = location.port {
            words.extend(["-p".to_owned(), port.to_string()]);
        }
        if let Some(user) = &location.user {
            words.extend(["-l".to_owned(), user.clone()]);
        }
        words.extend(self.arguments.iter().cloned());
        words.extend(["-s".to_owned(), location.host.clone(), "sftp".to_owned()]);
        ("ssh".to_owned(), words)
    }

    /// Starts the program. It may ask for a password or a passphrase at the terminal by itself.
    ///
    /// # Errors
    /// Why it cannot be started.
    pub(super) fn start(&self, location: &SftpLocation) -> Result<Transport, String> {
        let (program, arguments) = self.words(location);
        let mut command = Command::new(&program);
        command
            .args(&arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        for secret in SECRETS {
            command.env_remove(secret);
        }
        let mut child = command
            .spawn()
            .map_err(|error| format!("{program} cannot be started: {error}"))?;
        let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(input), Some(output), Some(errors)) = pipes else {
            // Three were asked for.
            return Err(format!("{program} has no pipes"));
        };
        let child = Arc::new(Mutex::new(child));
        Ok(Transport {
            output: Box::new(output),
            input: Box::new(input),
            complaints: Complaints::of(errors),
            end: Box::new(move || end(&mut child.lock())),
        })
    }
}

fn end(child: &mut Child) {
    // One that has ended already is as well.
    let _ = child.kill();
    let _ = child.wait();
}

/// Both directions, and what belongs to them.
pub(super) struct Transport {
    /// What the server sends.
    pub output: Box<dyn Read + Send>,
    /// What goes to the server. Dropped to end in good order.
    pub input: Box<dyn Write + Send>,
    /// What is said beside it.
    pub complaints: Complaints,
    /// Ends it at once. May be called again.
    pub end: Box<dyn Fn() + Send + Sync>,
}

/// What a program says on its standard error: the newest part of it.
pub(super) struct Complaints {
    text: Arc<Mutex<Vec<u8>>>,
    ended: Receiver<()>,
}

impl Complaints {
    /// Reads them until they end, so that the program is never held up by them.
    pub(super) fn of(mut errors: impl Read + Send + 'static) -> Self {
        let text = Arc::new(Mutex::new(Vec::new()));
        let (send, ended) = mpsc::channel();
        let kept = Arc::clone(&text);
        thread::spawn(move || {
            let mut piece = [0; 1024];
            while let Ok(length @ 1..) = errors.read(&mut piece) {
                let mut kept = kept.lock();
                kept.extend_from_slice(piece.get(..length).unwrap_or_default());
                let excess = kept.len().saturating_sub(COMPLAINT_BYTES_MAX);
                kept.drain(..excess);
            }
            // Whoever asks may be gone.
            let _ = send.send(());
        });
        Self { text, ended }
    }

    /// All of them, once the program has ended.
    pub(super) fn last_words(&self) -> String {
        // They are a help and nothing more: a grandchild may hold the pipe open.
        let _ = self.ended.recv_timeout(LAST_WORDS_WAIT);
        let text = String::from_utf8_lossy(&self.text.lock()).into_owned();
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        lines.collect::<Vec<_>>().join("; ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Location;

    fn words(location: &str, options: &SftpOptions) -> String {
        let Location::Sftp(location) = Location::parse(location).unwrap() else {
            panic!("{location} is no SFTP location");
        };
        let (program, arguments) = options.words(&location);
        format!("{program} {}", arguments.join(" "))
    }

    #[test]
    fn ssh_is_told_what_the_location_says_and_no_more() {
        let usual = SftpOptions::default();
        assert_eq!(words("sftp:backups:/r", &usual), "ssh -s backups sftp");
        assert_eq!(
            words("sftp://me@host:2222/r", &usual),
            "ssh -p 2222 -l me -s host sftp"
        );
        let more = SftpOptions {
            arguments: vec!["-i".to_owned(), "key file".to_owned()],
            ..SftpOptions::default()
        };
        assert_eq!(
            words("sftp:me@h:r", &more),
            "ssh -l me -i key file -s h sftp"
        );
        let own = SftpOptions {
            command: Some(vec!["sftp-server".to_owned(), "-e".to_owned()]),
            ..more
        };
        assert_eq!(words("sftp:me@h:r", &own), "sftp-server -e");
    }
}
