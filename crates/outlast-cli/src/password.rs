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

/// The text of a file or of a command's output, as restic reads it: UTF-16 is understood if it begins
/// with its mark, and space around the password is no part of it.
fn trimmed(bytes: &[u8]) -> Password {
    let utf16 = |bytes: &[u8], unit: fn([u8; 2]) -> u16| {
        let units = bytes.chunks_exact(2).map(|pair| unit([pair[0], pair[1]]));
        let letters = char::decode_utf16(units);
        let text: String = letters
            .map(|letter| letter.unwrap_or(char::REPLACEMENT_CHARACTER))
            .collect();
        Zeroizing::new(text.into_bytes())
    };
    let text = match bytes {
        [0xef, 0xbb, 0xbf, rest @ ..] => Zeroizing::new(rest.to_vec()),
        [0xfe, 0xff, rest @ ..] => utf16(rest, u16::from_be_bytes),
        [0xff, 0xfe, rest @ ..] => utf16(rest, u16::from_le_bytes),
        bytes => Zeroizing::new(bytes.to_vec()),
    };
    match std::str::from_utf8(&text) {
        Ok(text) => Zeroizing::new(text.trim().as_bytes().to_vec()),
        Err(_) => Zeroizing::new(text.trim_ascii().to_vec()),
    }
}

/// A line without its end.
fn without_line_end(line: &[u8]) -> Password {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    Zeroizing::new(line.strip_suffix(b"\r").unwrap_or(line).to_vec())
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
    Ok(trimmed(&bytes))
}

/// Reads a password from what a command prints.
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
    Ok(trimmed(&Zeroizing::new(output.stdout)))
}

/// The repository's password, if the arguments or the environment say where it is.
pub fn given_of_repository(global: &GlobalArguments) -> Result<Option<Password>, Failure> {
    let (file, command) = (
        global.password_file.as_deref(),
        global.password_command.as_deref(),
    );
    let given = given(file, command, "RESTIC_PASSWORD")?;
    match (given, global.insecure_no_password) {
        (Some(password), true) if !password.is_empty() => Err(Failure::new(
            "--insecure-no-password must not be combined with a password",
        )),
        (_, true) => Ok(Some(Password::default())),
        (Some(password), false) => refuse_empty(password).map(Some),
        (None, false) => Ok(None),
    }
}

/// Asks for the repository's password.
pub fn ask() -> Result<Password, Failure> {
    refuse_empty(prompt("enter password for repository: ")?)
}

/// The password of a new repository or key: asked twice when it is typed.
pub fn of_new(global: &GlobalArguments) -> Result<Password, Failure> {
    match given_of_repository(global)? {
        Some(password) => Ok(password),
        None => prompt_twice("enter password for new repository: "),
    }
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
    Ok(without_line_end(&line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn space_around_a_password_is_no_part_of_it() {
        for (content, password) in [
            (b"secret\n" as &[u8], b"secret" as &[u8]),
            (b"  se cret \r\n\n", b"se cret"),
            (b"\xef\xbb\xbfsecret", b"secret"),
            (b"\xff\xfea\0b\0\n\0", b"ab"),
            (b"\xfe\xff\0a\0b", b"ab"),
            (b"\xc2\xa0secret\xc2\xa0", b"secret"),
            (b" \xff\x00 ", b"\xff\x00"),
            (b"\n", b""),
        ] {
            assert_eq!(*trimmed(content), password, "{content:?}");
        }
        assert_eq!(*without_line_end(b" a \r\n"), b" a ");
    }

    #[test]
    fn commands_print_passwords_or_fail() {
        assert_eq!(*from_command("echo 'a b'").unwrap(), b"a b");
        assert!(from_command("false").is_err());
        assert!(from_command("").is_err());
        assert!(from_command("echo 'a").is_err());
        assert!(from_command("surely-no-such-program").is_err());
        let both = given(Some(Path::new("/x")), Some("x"), "X");
        assert!(both.unwrap_err().message.contains("exclude each other"));
    }
}
