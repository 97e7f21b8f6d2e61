//! How restic takes its arguments, where that differs from what is usual here: scripts rely on it.
//!
//! A flag that is given twice counts the last time; a flag that takes a value takes whatever comes
//! next, with a hyphen in front or not; a flag without a value may be given one all the same, as
//! `--json=false`.

use std::collections::HashSet;
use std::ffi::OsString;

use clap::{Arg, ArgAction, Command};

/// Lets the arguments of a command and of its subcommands be given as restic takes them.
pub fn in_restics_manner(command: Command) -> Command {
    command
        .args_override_self(true)
        .mut_args(|arg| {
            if takes_one_value(&arg) {
                arg.allow_hyphen_values(true)
            } else {
                arg
            }
        })
        .mut_subcommands(in_restics_manner)
}

fn takes_one_value(arg: &Arg) -> bool {
    let takes = matches!(arg.get_action(), ArgAction::Set | ArgAction::Append);
    takes && !arg.is_positional() && !arg.is_require_equals_set()
}

/// The names of all flags that take no value.
fn switches(command: &Command, names: &mut HashSet<String>) {
    let own = command
        .get_arguments()
        .filter(|arg| matches!(arg.get_action(), ArgAction::SetTrue));
    names.extend(own.filter_map(|arg| arg.get_long().map(str::to_owned)));
    for subcommand in command.get_subcommands() {
        switches(subcommand, names);
    }
}

/// The arguments with `--switch=true` as `--switch` and without `--switch=false`.
pub fn plain_switches(
    command: &Command,
    arguments: impl Iterator<Item = OsString>,
) -> Vec<OsString> {
    let mut names = HashSet::new();
    switches(command, &mut names);
    let mut is_option = true;
    let plain = |argument: OsString| {
        is_option &= argument != "--";
        let switch = argument
            .to_str()
            .filter(|_| is_option)
            .and_then(|text| text.strip_prefix("--")?.split_once('='))
            .filter(|(name, _)| names.contains(*name));
        match switch {
            Some((name, "1" | "t" | "T" | "true" | "TRUE" | "True")) => {
                Some(OsString::from(format!("--{name}")))
            }
            Some((_, "0" | "f" | "F" | "false" | "FALSE" | "False")) => None,
            _ => Some(argument),
        }
    };
    arguments.filter_map(plain).collect()
}

#[cfg(test)]
mod tests {
    use clap::FromArgMatches;

    use super::*;
    use crate::args::CommandLine;

    fn parse(arguments: &[&str]) -> Result<CommandLine, clap::Error> {
        let command = in_restics_manner(CommandLine::documented());
        let all = std::iter::once("outlast").chain(arguments.iter().copied());
        let plain = plain_switches(&command, all.map(OsString::from));
        CommandLine::from_arg_matches(&command.try_get_matches_from(plain)?)
    }

    #[test]
    fn restics_ways_of_giving_flags_are_understood() {
        let global = |arguments: &[&str]| parse(arguments).unwrap().global;
        assert!(global(&["snapshots", "--json=true"]).json);
        assert!(!global(&["snapshots", "--json=false"]).json);
        assert!(global(&["--json", "--json", "snapshots"]).json);
        assert_eq!(
            global(&["-r", "a", "snapshots", "-r", "b"]).repo.as_deref(),
            Some("b")
        );
        assert_eq!(global(&["snapshots", "-r=b"]).repo.as_deref(), Some("b"));
        assert_eq!(
            global(&["-r", "-odd", "snapshots"]).repo.as_deref(),
            Some("-odd")
        );
        for (arguments, level) in [
            (&["snapshots"] as &[&str], 1),
            (&["snapshots", "-v"], 2),
            (&["snapshots", "-vv"], 3),
            (&["-v", "snapshots", "--verbose"], 2),
            (&["snapshots", "--verbose=2"], 3),
            (&["snapshots", "-q"], 0),
        ] {
            assert_eq!(global(arguments).verbosity(), level, "{arguments:?}");
        }
        assert!(parse(&["backup", "-e", "-x*", "-e", "b", "dir"]).is_ok());
        assert!(parse(&["forget", "--keep-last", "-1"]).is_ok());
        assert!(parse(&["ls", "latest", "/a", "-l", "/b"]).is_ok());
        assert!(parse(&["backup", "--stdin-from-command", "--", "tar", "--null=true"]).is_ok());
    }

    #[test]
    fn what_is_no_flag_stays_an_error() {
        assert!(parse(&["snapshots", "--json=maybe"]).is_err());
        assert!(parse(&["snapshots", "--jsn=true"]).is_err());
        assert!(parse(&["snapshots", "--repo"]).is_err());
        assert!(parse(&[]).is_err());
    }
}
