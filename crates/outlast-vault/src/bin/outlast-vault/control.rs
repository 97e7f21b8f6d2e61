//! The control socket: how commands on the machine reach the process that serves.
//!
//! A client sends one [`Ask`] as a line of JSON and gets [`Reply`] lines until the answer. The
//! socket is for the vault's own user (mode 0600, in a folder that nobody else may write to); no
//! network leads here.

use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::ask::{Answer, Ask, Reply};
use crate::exit::Failure;
use crate::operator::{Operator, Progress};

/// Longest line in either direction, in bytes.
const LINE_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// Asks at once.
const ASKS_MAX: usize = 16;
/// A process that has the vault open and does not listen gets so long to begin.
const START_TIME: Duration = Duration::from_secs(5);
/// How often it is tried meanwhile.
const START_PAUSE: Duration = Duration::from_millis(50);
/// A client that sends nothing for so long is let go.
const ASK_TIME: Duration = Duration::from_secs(10);

/// Listens for asks.
///
/// # Errors
/// Those of the system.
pub fn listen(path: &Path) -> io::Result<UnixListener> {
    // Whoever calls this has the vault to itself, so what is there is left from one that is gone.
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    // A path that is too long for a socket says so here.
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Answers asks until the process ends.
pub fn serve(listener: &UnixListener, operator: &Operator) {
    let busy = Arc::new(AtomicUsize::new(0));
    for stream in listener.incoming() {
        let Ok(stream) = stream else {
            // Too many open files, for example: others may end meanwhile.
            thread::sleep(Duration::from_millis(100));
            continue;
        };
        if busy.fetch_add(1, Ordering::SeqCst) >= ASKS_MAX {
            busy.fetch_sub(1, Ordering::SeqCst);
            continue;
        }
        let (operator, busy) = (operator.clone(), Arc::clone(&busy));
        thread::spawn(move || {
            if let Err(error) = converse(&stream, &operator) {
                tracing::debug!(%error, "a command on this machine broke off");
            }
            busy.fetch_sub(1, Ordering::SeqCst);
        });
    }
}

fn converse(stream: &UnixStream, operator: &Operator) -> io::Result<()> {
    stream.set_read_timeout(Some(ASK_TIME))?;
    let mut line = Vec::new();
    BufReader::new(stream.take(LINE_BYTES_MAX)).read_until(b'\n', &mut line)?;
    let mut output = BufWriter::new(stream);
    let mut send = |reply: &Reply| -> io::Result<()> {
        serde_json::to_writer(&mut output, reply)?;
        output.write_all(b"\n")?;
        output.flush()
    };
    let outcome = match serde_json::from_slice::<Ask>(&line) {
        Ok(ask) => {
            tracing::info!(ask = %name_of(&line), "asked on this machine");
            operator.carry_out(ask, &mut |done, total| {
                let _ = send(&Reply::Progress { done, total });
            })
        }
        Err(error) => Err(Failure::new(format!(
            "the serving process does not know what was asked ({error}); is it of another version?"
        ))),
    };
    send(&match outcome {
        Ok(answer) => Reply::Answer(answer),
        Err(failure) => Reply::Failed {
            message: failure.message,
            hint: failure.hint,
        },
    })
}

/// What is asked for, without what it says about it.
fn name_of(line: &[u8]) -> String {
    let value: serde_json::Value = serde_json::from_slice(line).unwrap_or_default();
    let name = value.get("ask").and_then(serde_json::Value::as_str);
    name.unwrap_or("?").to_owned()
}

/// Connects; whoever has just begun to serve may not listen yet.
fn connect(path: &Path) -> io::Result<UnixStream> {
    let start = Instant::now();
    loop {
        match UnixStream::connect(path) {
            Err(_) if start.elapsed() < START_TIME => thread::sleep(START_PAUSE),
            result => return result,
        }
    }
}

/// Asks the process that serves.
///
/// # Errors
/// Why it did not do it, or why it cannot be reached.
pub fn ask(path: &Path, ask: &Ask, progress: Progress<'_>) -> Result<Answer, Failure> {
    let gone = |error: io::Error| {
        Failure::new(format!(
            "another process has the vault open and cannot be asked through {}: {error}",
            path.display()
        ))
        .hint("is another command at work? `systemctl status outlast-vault` shows the service")
    };
    let mut stream = connect(path).map_err(gone)?;
    let mut line = serde_json::to_vec(ask).map_err(|error| Failure::new(error.to_string()))?;
    line.push(b'\n');
    stream.write_all(&line).map_err(gone)?;
    let mut reader = BufReader::new(stream);
    loop {
        let mut line = Vec::new();
        let count = (&mut reader)
            .take(LINE_BYTES_MAX)
            .read_until(b'\n', &mut line)
            .map_err(gone)?;
        if count == 0 {
            return Err(gone(io::ErrorKind::UnexpectedEof.into()));
        }
        let reply = serde_json::from_slice(&line).map_err(|error| gone(error.into()))?;
        match reply {
            Reply::Progress { done, total } => progress(done, total),
            Reply::Answer(answer) => return Ok(answer),
            Reply::Failed { message, hint } => {
                return Err(Failure {
                    hint,
                    ..Failure::new(message)
                });
            }
        }
    }
}
