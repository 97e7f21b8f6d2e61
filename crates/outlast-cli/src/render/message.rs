//! Lines on standard output and standard error. A reader that has gone away ends the output quietly,
//! and the run too where its output is all that it is for.

use std::io::{self, IsTerminal, Write};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use outlast_repo::Cancel;

/// Whether nobody reads standard output any more.
static CLOSED: AtomicBool = AtomicBool::new(false);
/// What is to stop then.
static STOP: OnceLock<Cancel> = OnceLock::new();

/// From now on the run stops, in good order, once nobody reads its output any more, as in
/// `outlast ls | head`. Whoever does more than to show something goes on without an audience.
pub fn stop_when_unheard(cancel: &Cancel) {
    // The run has one verb, so nobody else has set it.
    let _ = STOP.set(cancel.clone());
}

/// Whether the run stopped because nobody reads its output any more: that is how such pipes end.
pub fn ended_unheard() -> bool {
    CLOSED.load(Ordering::Relaxed) && STOP.get().is_some()
}

/// Writes to standard output, as long as somebody reads it.
fn output(write: impl FnOnce(&mut io::StdoutLock<'_>) -> io::Result<()>) {
    if !CLOSED.load(Ordering::Relaxed) && write(&mut io::stdout().lock()).is_err() {
        CLOSED.store(true, Ordering::Relaxed);
        if let Some(cancel) = STOP.get() {
            cancel.cancel();
        }
    }
}

/// A line of results.
pub fn line(text: impl AsRef<str>) {
    output(|output| writeln!(output, "{}", text.as_ref()));
}

/// A line of results with names in it, whatever their bytes. A terminal gets no control characters:
/// names from repositories must not be able to send commands to it.
pub fn raw_line(text: &[u8]) {
    output(|output| {
        if output.is_terminal() {
            let shown = crate::verbs::clean(&String::from_utf8_lossy(text));
            return writeln!(output, "{shown}");
        }
        output.write_all(text)?;
        output.write_all(b"\n")
    });
}

/// Raw bytes of results.
pub fn bytes(bytes: &[u8]) {
    output(|output| output.write_all(bytes));
}

fn is_coloured() -> bool {
    let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    !plain && std::io::stderr().is_terminal()
}

fn labelled(label: &str, colour: &str, text: &str) {
    // Names from repositories must not be able to send commands to a terminal.
    let text: String = text
        .chars()
        .map(|character| {
            if character.is_control() {
                '\u{fffd}'
            } else {
                character
            }
        })
        .collect();
    let mut output = std::io::stderr().lock();
    // Where standard error is closed there is nobody to tell.
    let _ = if is_coloured() {
        writeln!(output, "\x1b[{colour}m{label}:\x1b[0m {text}")
    } else {
        writeln!(output, "{label}: {text}")
    };
}

/// What ended the run.
pub fn error(text: &str) {
    labelled("error", "1;31", text);
}

/// What to do about it.
pub fn hint(text: &str) {
    labelled("hint", "1;36", text);
}

/// What should be known though the work goes on.
pub fn warning(text: &str) {
    labelled("warning", "1;33", text);
}

/// What is good to know.
pub fn note(text: &str) {
    labelled("note", "1;34", text);
}
