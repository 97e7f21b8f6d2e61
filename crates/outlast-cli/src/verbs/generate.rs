//! `generate` and `completion`: man pages and shell completions, made from the arguments themselves.

use std::fs;
use std::path::{Path, PathBuf};

use clap::{Args, Command};
use clap_complete::Shell;

use crate::args::CommandLine;
use crate::exit::{self, Failure};
use crate::render::message;

/// Arguments of `generate`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Write man pages into this folder
    #[arg(long, value_name = "DIRECTORY")]
    man: Option<PathBuf>,
    /// Write the completion for bash into this file, - for standard output
    #[arg(long, value_name = "FILE")]
    bash_completion: Option<PathBuf>,
    /// Write the completion for fish into this file, - for standard output
    #[arg(long, value_name = "FILE")]
    fish_completion: Option<PathBuf>,
    /// Write the completion for zsh into this file, - for standard output
    #[arg(long, value_name = "FILE")]
    zsh_completion: Option<PathBuf>,
    /// Write the completion for PowerShell into this file, - for standard output
    #[arg(long, value_name = "FILE")]
    powershell_completion: Option<PathBuf>,
}

/// Arguments of `completion`.
#[derive(Debug, Args)]
pub struct CompletionArguments {
    /// The shell
    shell: Shell,
}

fn completion(shell: Shell) -> Vec<u8> {
    let mut script = Vec::new();
    clap_complete::generate(
        shell,
        &mut CommandLine::documented(),
        "outlast",
        &mut script,
    );
    script
}

/// Prints the completion for a shell.
pub fn run_completion(arguments: &CompletionArguments) -> Result<u8, Failure> {
    message::bytes(&completion(arguments.shell));
    Ok(exit::OK)
}

/// Writes man pages and completions.
pub fn run(arguments: &Arguments) -> Result<u8, Failure> {
    let scripts = [
        (Shell::Bash, &arguments.bash_completion),
        (Shell::Fish, &arguments.fish_completion),
        (Shell::Zsh, &arguments.zsh_completion),
        (Shell::PowerShell, &arguments.powershell_completion),
    ];
    if arguments.man.is_none() && scripts.iter().all(|(_, path)| path.is_none()) {
        return Err(Failure::new(
            "nothing to generate, please specify at least one output file/dir",
        ));
    }
    if let Some(folder) = &arguments.man {
        fs::create_dir_all(folder).map_err(|error| failed(folder, &error))?;
        let mut command = CommandLine::documented();
        command.build();
        write_man_pages(&command, "outlast", folder)?;
    }
    for (shell, path) in scripts {
        match path {
            Some(path) if path == Path::new("-") => message::bytes(&completion(shell)),
            Some(path) => {
                fs::write(path, completion(shell)).map_err(|error| failed(path, &error))?
            }
            None => {}
        }
    }
    Ok(exit::OK)
}

fn failed(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(format!("{} cannot be written: {error}", path.display()))
}

/// A page for the program and one for each verb, `outlast-backup.1` and so on.
fn write_man_pages(command: &Command, name: &str, folder: &Path) -> Result<(), Failure> {
    let mut page = Vec::new();
    clap_mangen::Man::new(command.clone())
        .title(name.to_uppercase())
        .render(&mut page)?;
    let path = folder.join(format!("{name}.1"));
    fs::write(&path, page).map_err(|error| failed(&path, &error))?;
    for verb in command
        .get_subcommands()
        .filter(|verb| !verb.is_hide_set() && verb.get_name() != "help")
    {
        write_man_pages(verb, &format!("{name}-{}", verb.get_name()), folder)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verb_has_a_man_page_and_completion() {
        let folder = tempfile::tempdir().unwrap();
        let arguments = Arguments {
            man: Some(folder.path().to_owned()),
            bash_completion: Some(folder.path().join("bash")),
            fish_completion: None,
            zsh_completion: None,
            powershell_completion: None,
        };
        run(&arguments).unwrap();
        let script = fs::read_to_string(folder.path().join("bash")).unwrap();
        for verb in CommandLine::documented().get_subcommands() {
            assert!(
                folder
                    .path()
                    .join(format!("outlast-{}.1", verb.get_name()))
                    .exists(),
                "{verb}"
            );
            assert!(script.contains(verb.get_name()));
        }
    }

    #[test]
    fn arguments_are_well_formed() {
        CommandLine::documented().debug_assert();
    }
}
