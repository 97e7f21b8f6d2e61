//! Lines on standard output and standard error. A reader that has gone away ends the output quietly.

use std::io::{IsTerminal, Write};

/// A line of results.
pub fn line(text: impl AsRef<str>) {
    let mut output = std::io::stdout().lock();
    if writeln!(output, "{}", text.as_ref()).is_err() {
        // Nobody listens any more, as in `outlast ls | head`: that is how such pipes end.
        std::process::exit(0);
    }
}

/// A line of results with names in it, whatever their bytes. A terminal gets no control characters:
/// names from repositories must not be able to send commands to it.
pub fn raw_line(text: &[u8]) {
    let mut output = std::io::stdout().lock();
    let written = if output.is_terminal() {
        let shown = crate::verbs::clean(&String::from_utf8_lossy(text));
        writeln!(output, "{shown}")
    } else {
        output
            .write_all(text)
            .and_then(|()| output.write_all(b"\n"))
    };
    if written.is_err() {
        std::process::exit(0);
    }
}

/// Raw bytes of results.
pub fn bytes(bytes: &[u8]) {
    if std::io::stdout().lock().write_all(bytes).is_err() {
        std::process::exit(0);
    }
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
