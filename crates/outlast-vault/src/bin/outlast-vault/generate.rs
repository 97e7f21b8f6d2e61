//! `generate`: man pages and completions from the arguments themselves, and the systemd unit.

use std::fs;
use std::path::Path;

use clap_complete::Shell;

use crate::args::{CommandLine, Generate};
use crate::exit::{self, Failure};
use crate::render;

/// The unit, with everything denied that a vault does not need.
const UNIT: &str = include_str!("outlast-vault.service");

fn failed(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(format!("cannot write {}: {error}", path.display()))
}

fn put(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    if path == Path::new("-") {
        render::bytes(bytes);
        return Ok(());
    }
    fs::write(path, bytes).map_err(|error| failed(path, &error))
}

/// Writes what is asked for.
///
/// # Errors
/// If a file cannot be written.
pub fn run(arguments: &Generate) -> Result<u8, Failure> {
    let scripts = [
        (Shell::Bash, &arguments.bash_completion),
        (Shell::Fish, &arguments.fish_completion),
        (Shell::Zsh, &arguments.zsh_completion),
    ];
    if arguments.man.is_none()
        && arguments.systemd.is_none()
        && scripts.iter().all(|(_, path)| path.is_none())
    {
        return Err(Failure::new("nothing to generate was asked for")
            .hint("see `outlast-vault generate --help`"));
    }
    if let Some(folder) = &arguments.man {
        fs::create_dir_all(folder).map_err(|error| failed(folder, &error))?;
        let mut command = CommandLine::documented();
        command.build();
        write_man_pages(&command, "outlast-vault", folder)?;
    }
    for (shell, path) in scripts {
        if let Some(path) = path {
            let mut script = Vec::new();
            let mut command = CommandLine::documented();
            clap_complete::generate(shell, &mut command, "outlast-vault", &mut script);
            put(path, &script)?;
        }
    }
    if let Some(path) = &arguments.systemd {
        put(path, UNIT.as_bytes())?;
    }
    Ok(exit::OK)
}

/// A page for the program and one for each command, `outlast-vault-init.1` and so on.
fn write_man_pages(command: &clap::Command, name: &str, folder: &Path) -> Result<(), Failure> {
    let path = folder.join(format!("{name}.1"));
    let mut page = Vec::new();
    clap_mangen::Man::new(command.clone())
        .title(name.to_uppercase())
        .render(&mut page)
        .map_err(|error| failed(&path, &error))?;
    fs::write(&path, page).map_err(|error| failed(&path, &error))?;
    for part in command.get_subcommands() {
        if part.get_name() != "help" {
            write_man_pages(part, &format!("{name}-{}", part.get_name()), folder)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_well_formed() {
        CommandLine::documented().debug_assert();
    }
}
