//! `init`: makes a new repository.

use std::path::PathBuf;

use clap::Args;
use outlast_format::ScryptCost;
use outlast_object::Id;
use outlast_ops::{Session, init_session, is_custodian_location, make_password};
use outlast_repo::{InitOptions, calibrate_scrypt};
use outlast_store::Capabilities;
use serde::Serialize;

use crate::context::Context;
use crate::exit::{self, Failure};
use crate::password::{self, Password};
use crate::render::{json, message};

/// Arguments of `init`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Cut files as another repository does, so that copies between them share data
    #[arg(long)]
    copy_chunker_params: bool,
    /// Format version: 1, 2, latest or stable
    #[arg(long, default_value = "stable", value_name = "VERSION")]
    repository_version: String,
    /// Make a random password and write it to the file of --password-file, which must not exist; as
    /// nobody can guess it, opening the repository need not be slow
    #[arg(long)]
    generate_password: bool,
    /// The other repository
    #[command(flatten)]
    from: FromArguments,
}

/// Where the other repository of a verb is.
#[derive(Debug, Clone, Args)]
pub struct FromArguments {
    /// Location of the other repository
    #[arg(
        long,
        env = "RESTIC_FROM_REPOSITORY",
        hide_env_values = true,
        value_name = "REPOSITORY"
    )]
    pub from_repo: Option<String>,
    /// File that holds the location of the other repository
    #[arg(long, env = "RESTIC_FROM_REPOSITORY_FILE", value_name = "FILE")]
    pub from_repository_file: Option<PathBuf>,
    /// File that holds the password of the other repository
    #[arg(long, env = "RESTIC_FROM_PASSWORD_FILE", value_name = "FILE")]
    pub from_password_file: Option<PathBuf>,
    /// Command that prints the password of the other repository
    #[arg(
        long,
        env = "RESTIC_FROM_PASSWORD_COMMAND",
        hide_env_values = true,
        value_name = "COMMAND"
    )]
    pub from_password_command: Option<String>,
    /// Key id of the other repository to try first
    #[arg(long, env = "RESTIC_FROM_KEY_HINT", value_name = "KEY")]
    pub from_key_hint: Option<String>,
    /// Use an empty password for the other repository (insecure)
    #[arg(long)]
    pub from_insecure_no_password: bool,
}

impl FromArguments {
    /// Opens the other repository.
    pub fn open(&self, context: &Context) -> Result<Session, Failure> {
        let location = match (&self.from_repo, &self.from_repository_file) {
            (Some(_), Some(_)) => {
                return Err(Failure::new(
                    "--from-repo and --from-repository-file exclude each other",
                ));
            }
            (Some(location), None) => location.clone(),
            (None, Some(file)) => std::fs::read_to_string(file)?.trim().to_owned(),
            (None, None) => {
                return Err(
                    Failure::new("the other repository is not named").hint("use --from-repo")
                );
            }
        };
        let password = if self.from_insecure_no_password {
            zeroize::Zeroizing::new(Vec::new())
        } else {
            let (file, command) = (
                self.from_password_file.as_deref(),
                self.from_password_command.as_deref(),
            );
            match password::given(file, command, "RESTIC_FROM_PASSWORD")? {
                Some(password) => password,
                None => password::prompt("enter password for source repository: ")?,
            }
        };
        let mut options = context.session_options(&location, password)?;
        if !is_custodian_location(&location) {
            // What `-o rest.token` says is said of the repository that is written to.
            options.connect.capabilities = Capabilities::ALL;
        }
        options.key_hint = self.from_key_hint.clone();
        Ok(Session::open(
            &options,
            context.environment(),
            &context.cancel,
        )?)
    }
}

#[derive(Serialize)]
struct Initialized<'a> {
    message_type: &'static str,
    id: Id,
    repository: &'a str,
}

/// Writes a new random password to the password file.
fn generate(context: &Context) -> Result<Password, Failure> {
    let Some(file) = &context.global.password_file else {
        return Err(Failure::new("--generate-password needs --password-file")
            .hint("the new password is written there"));
    };
    if std::fs::symlink_metadata(file).is_ok() {
        // Whatever opens with what stands there must stay possible to open.
        let problem = format!("the password file {} exists already", file.display());
        return Err(Failure::new(problem).hint("leave --generate-password out to use it"));
    }
    let file = std::path::absolute(file)?;
    Ok(make_password(&file)?)
}

/// Makes a new repository.
pub fn run(context: &Context, arguments: &Arguments) -> Result<u8, Failure> {
    let version = match arguments.repository_version.as_str() {
        "" | "stable" | "latest" | "2" => 2,
        "1" => 1,
        other => {
            return Err(Failure::new(format!(
                "repository version {other:?} is not known: 1 or 2"
            )));
        }
    };
    let location = context.location_text()?;
    if arguments.generate_password && context.global.password_command.is_some() {
        let problem = "--generate-password and a password command exclude each other";
        return Err(Failure::new(problem));
    }
    let polynomial = if arguments.copy_chunker_params {
        let other = arguments.from.open(context)?;
        Some(other.repository().config().chunker_polynomial)
    } else if arguments.from.from_repo.is_some() {
        return Err(Failure::new(
            "--from-repo has no meaning here without --copy-chunker-params",
        ));
    } else {
        None
    };
    let environment = context.environment();
    let (password, cost) = if arguments.generate_password {
        (generate(context)?, ScryptCost::RANDOM_PASSWORD)
    } else {
        let password = password::of_new(&context.global)?;
        (password, calibrate_scrypt(&*environment.clock)?)
    };
    let options = context.session_options(&location, password)?;
    let init = InitOptions {
        version,
        polynomial,
        ..InitOptions::new(cost)
    };
    let session = init_session(&options, &init, environment, &context.cancel)?;
    let id = session.repository().config().id;
    let shown = outlast_store::Store::location(session.repository().store());
    if context.global.json {
        json::print(&Initialized {
            message_type: "initialized",
            id,
            repository: &shown,
        });
    } else {
        message::line(format!(
            "created repository {} at {shown}",
            &id.to_hex()[..10]
        ));
        message::line("");
        message::line(
            "Keep the password: without it nobody, you included, can read what is stored here.",
        );
    }
    Ok(exit::OK)
}
