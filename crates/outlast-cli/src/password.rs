//! Where passwords come from: a file, a command, the environment, a prompt. Never an argument.

use std::io::{BufRead, IsTerminal, Read};
use std::path::Path;
use std::process::{Command, Stdio};

use zeroize::Zeroizing;

use crate::args::GlobalArguments;
use crate::exit::Failure;

/// Longer files hold no password.
const PASSWORD_BYTES_MAX: u64 = 64 * 1024;

/// A password.
pub type Password = Zeroizing<Vec<u8>>;

fn trimmed(mut bytes: Password) -> Password {
    // A byte order mark, as some editors write it, is no part of a password either.
    if bytes.starts_with(b"\xef\xbb\xbf") {
        bytes.drain(..3);
    }
    while matches!(bytes.last(), Some(b'\n' | b'\r')) {
        bytes.pop();
    }
    bytes
}

/// Reads a password from a file.
pub fn from_file(path: &Path) -> Result<Password, Failure> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(256));
    let file = std::fs::File::open(path).map_err(|error| {
        Failure::new(format!(
            "the password file {} cannot be read: {error}",
            path.display()
        ))
    })?;
    file.take(PASSWORD_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(trimmed(bytes))
}

/// Reads a password from the first line that a command prints.
pub fn from_command(command: &str) -> Result<Password, Failure> {
    let words = crate::parse::shell_words(command).map_err(Failure::new)?;
    let Some((program, arguments)) = words.split_first() else {
        return Err(Failure::new("the password command is empty"));
    };
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::inherit())
        .stderr(Stdio::inherit())
        .output();
    let output = output.map_err(|error| {
        Failure::new(format!(
            "the password command {program} cannot be run: {error}"
        ))
    })?;
    if !output.status.success() {
        return Err(Failure::new(format!(
            "the password command {program} ended with {}",
            output.status
        )));
    }
    Ok(trimmed(Zeroizing::new(output.stdout)))
}

/// The repository's password, from wherever the arguments and the environment say.
pub fn of_repository(global: &GlobalArguments) -> Result<Password, Failure> {
    if global.insecure_no_password {
        return Ok(Zeroizing::new(Vec::new()));
    }
    let given = given(
        global.password_file.as_deref(),
        global.password_command.as_deref(),
        "RESTIC_PASSWORD",
    )?;
    let password = match given {
        Some(password) => password,
        None => prompt("enter password for repository: ")?,
    };
    refuse_empty(password)
}

/// The password of a new repository or key: asked twice when it is typed.
pub fn of_new(global: &GlobalArguments) -> Result<Password, Failure> {
    if global.insecure_no_password {
        return Ok(Zeroizing::new(Vec::new()));
    }
    let given = given(
        global.password_file.as_deref(),
        global.password_command.as_deref(),
        "RESTIC_PASSWORD",
    )?;
    if let Some(password) = given {
        return refuse_empty(password);
    }
    prompt_twice("enter password for new repository: ")
}

/// Asks for a new password twice.
pub fn prompt_twice(question: &str) -> Result<Password, Failure> {
    let first = prompt(question)?;
    if std::io::stdin().is_terminal() && first != prompt("enter password again: ")? {
        return Err(Failure::new("the passwords do not match"));
    }
    refuse_empty(first)
}

/// Refuses a password that is empty without being meant to be.
pub fn refuse_empty(password: Password) -> Result<Password, Failure> {
    if password.is_empty() {
        return Err(Failure::new("an empty password is not allowed")
            .hint("--insecure-no-password allows it"));
    }
    Ok(password)
}

/// The password from a file, a command or an environment variable.
pub fn given(
    file: Option<&Path>,
    command: Option<&str>,
    variable: &str,
) -> Result<Option<Password>, Failure> {
    match (file, command) {
        (Some(_), Some(_)) => Err(Failure::new(
            "a password file and a password command exclude each other",
        )),
        (Some(file), None) => from_file(file).map(Some),
        (None, Some(command)) => from_command(command).map(Some),
        (None, None) => {
            use std::os::unix::ffi::OsStringExt;
            let value = std::env::var_os(variable).filter(|value| !value.is_empty());
            Ok(value.map(|value| Zeroizing::new(value.into_vec())))
        }
    }
}

/// Asks on the terminal, or reads a line of standard input where that is no terminal.
pub fn prompt(question: &str) -> Result<Password, Failure> {
    if std::io::stdin().is_terminal() {
        let text = rpassword::prompt_password(question)
            .map_err(|error| Failure::new(format!("the password cannot be read: {error}")))?;
        return Ok(Zeroizing::new(text.into_bytes()));
    }
    let mut line = Zeroizing::new(Vec::with_capacity(256));
    std::io::stdin()
        .lock()
        .take(PASSWORD_BYTES_MAX)
        .read_until(b'\n', &mut line)?;
    if line.is_empty() {
        return Err(Failure::new("no password was given")
            .hint("use --password-file, --password-command or RESTIC_PASSWORD"));
    }
    Ok(trimmed(line))
}
