//! The `outlast-vault` program: a vault's operator makes, serves and looks after it with this.
//!
//! Everything that administers is local: a command opens the vault itself, or asks the process that
//! serves it through a socket in the vault's folder. Nothing of it is on the network.

mod args;
mod ask;
mod config;
mod control;
mod exit;
mod folder;
mod generate;
mod observe;
mod operator;
mod render;
mod sandbox;
mod scrubber;
mod serve;
mod units;
mod world;

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches};

use args::{Command, CommandLine, Init, Log, Repo, TokenCommand};
use ask::{Answer, Ask};
use config::{Config, LogFormat, PORT};
use exit::Failure;
use folder::Folder;
use operator::Operator;

fn main() -> ExitCode {
    // Files of the vault are for its own user.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    let matches = CommandLine::documented().get_matches();
    let command_line = match CommandLine::from_arg_matches(&matches) {
        Ok(command_line) => command_line,
        Err(error) => error.format(&mut CommandLine::command()).exit(),
    };
    let json = command_line.json;
    exit::finish(run(&command_line), json)
}

fn run(command_line: &CommandLine) -> Result<u8, Failure> {
    let path = &command_line.vault;
    let ask = match &command_line.command {
        Command::Init(init) => return initialise(command_line, init),
        Command::Generate(arguments) => return generate::run(arguments),
        Command::Serve(serve) => return serve::run(&Folder::open(path)?, serve.verbose),
        Command::Fsck { read_data } => {
            return check(&Folder::open(path)?, *read_data, command_line.json);
        }
        Command::Repo(Repo::Add {
            repository,
            settings,
        }) => Ask::RepositoryAdd {
            repository: repository.clone(),
            settings: settings.changes(),
        },
        Command::Repo(Repo::Set {
            repository,
            settings,
        }) => Ask::RepositorySet {
            repository: repository.clone(),
            settings: settings.changes(),
        },
        Command::Repo(Repo::List) => Ask::RepositoryList,
        Command::Token(TokenCommand::Add(token)) => Ask::TokenAdd(token.to_ask()),
        Command::Token(TokenCommand::Revoke { token }) => Ask::TokenRevoke { token: *token },
        Command::Token(TokenCommand::List) => Ask::TokenList,
        Command::Invite(token) => Ask::Invite(token.to_ask()),
        Command::Seals { repository } => Ask::Seals {
            repository: repository.clone(),
        },
        Command::Hold {
            repository,
            seal,
            until,
        } => Ask::Hold {
            repository: repository.clone(),
            seal: *seal,
            until: *until,
        },
        Command::Scrub { no_limit } => Ask::Scrub {
            unlimited: *no_limit,
        },
        Command::Status => Ask::Status,
        Command::Log(Log::Show { from, count }) => Ask::Log {
            first: *from,
            count: *count,
        },
    };
    let answer = carry_out(&Folder::open(path)?, ask)?;
    render::answer(&answer, command_line.json);
    match answer {
        Answer::Scrubbed(found) if !found.damaged.is_empty() => Ok(exit::DAMAGED),
        _ => Ok(exit::OK),
    }
}

/// Does what is asked for: here if nobody has the vault open, else through the process that serves.
fn carry_out(folder: &Folder, ask: Ask) -> Result<Answer, Failure> {
    let mut progress = render::progress;
    let outcome = match folder.try_exclusive()? {
        Some(exclusive) => {
            serve::log_lines(LogFormat::Text, false);
            let operator = Operator::new(folder.vault(&exclusive)?, folder, false)?;
            let outcome = operator.carry_out(ask, &mut progress);
            operator.vault.close()?;
            outcome
        }
        None => control::ask(&folder.socket(), &ask, &mut progress),
    };
    render::progress_end();
    outcome
}

/// Checks a vault that nobody has open.
fn check(folder: &Folder, reads_data: bool, json: bool) -> Result<u8, Failure> {
    let Some(exclusive) = folder.try_exclusive()? else {
        return Err(Failure::new("another process has this vault open").hint(
            "stop the vault first; `outlast-vault scrub` reads all objects while it serves",
        ));
    };
    serve::log_lines(LogFormat::Text, false);
    let report = folder.fsck(&exclusive, reads_data, &mut render::objects)?;
    render::progress_end();
    let checked = ask::Checked {
        is_clean: report.is_clean(),
        is_ledger_sound: report.is_ledger_sound(),
        entries: report.entries,
        seals: report.seals,
        objects: report.objects,
        bytes_read: report.bytes_read,
        harmless: report.harmless_findings,
        findings: report.findings.iter().map(ToString::to_string).collect(),
    };
    render::checked(&checked, json);
    Ok(if report.is_clean() {
        exit::OK
    } else {
        exit::DAMAGED
    })
}

/// The name of this machine, if it has one that others could use.
fn machine_name() -> Option<String> {
    let system = rustix::system::uname();
    let name = system.nodename().to_str().ok()?;
    config::check_address(&format!("{name}:{PORT}")).ok()?;
    Some(name.to_owned())
}

fn initialise(command_line: &CommandLine, init: &Init) -> Result<u8, Failure> {
    let machine = machine_name();
    let name = init.name.clone().or_else(|| machine.clone());
    let name = name.ok_or_else(|| {
        Failure::new("this machine has no usable name").hint("name the vault with --name")
    })?;
    let mut addresses = init.address.clone();
    if addresses.is_empty() {
        let machine = machine.ok_or_else(|| {
            Failure::new("this machine has no usable name")
                .hint(format!("say how others reach it: --address HOST:{PORT}"))
        })?;
        addresses.push(format!("{machine}:{PORT}"));
    }
    let mut listen = init.listen.clone();
    if listen.is_empty() {
        let port = addresses[0].rsplit(':').next().unwrap_or_default();
        // Where there is no IPv6 the address for both is refused.
        let both = std::net::TcpListener::bind("[::]:0").is_ok();
        let any = if both { "[::]" } else { "0.0.0.0" };
        listen.push(format!("{any}:{port}"));
    }
    let config = Config {
        immutable: !init.no_immutable,
        ..Config::new(addresses, listen)
    };
    // What is written must be readable again, so it is checked as anything else.
    Config::parse(&config.to_commented_text())?;
    let folder = Folder::create(&command_line.vault, &name, &config)?;
    let identity = folder.key()?.verifier().to_string();
    if command_line.json {
        let made = serde_json::json!({ "vault": folder.path(), "identity": identity });
        render::bytes(format!("{made}\n").as_bytes());
        return Ok(exit::OK);
    }
    let path = folder.path().display();
    render::bytes(
        format!(
            "made a vault in {path}\n\
             identity: {identity}\n\
             reached at: {}\n\
             \n\
             next: outlast-vault --vault {path} serve\n\
             then: outlast-vault --vault {path} invite NAME, and paste its line into `outlast custodian add` elsewhere\n",
            folder.config.addresses.join(", "),
        )
        .as_bytes(),
    );
    Ok(exit::OK)
}
