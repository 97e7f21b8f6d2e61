//! `key`: the passwords of a repository.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use outlast_object::Id;
use outlast_repo::{
    NewKey, Removal, add_verified_key, calibrate_scrypt, change_password, find_key, list_keys,
    remove_key,
};
use serde::Serialize;

use super::clean;
use crate::context::Context;
use crate::exit::{self, Failure};
use crate::password::{self, Password};
use crate::render::table::Table;
use crate::render::{json, message, units};

/// Arguments of `key`.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List the keys
    List,
    /// Add a key, with another password
    Add(NewKeyArguments),
    /// Change the password: add a key and remove the one in use
    Passwd(NewKeyArguments),
    /// Remove a key other than the one in use
    Remove {
        /// Beginning of the key's id
        #[arg(value_name = "ID")]
        id: String,
    },
}

#[derive(Debug, Args)]
struct NewKeyArguments {
    /// Host named in the new key
    #[arg(long, value_name = "HOST")]
    host: Option<String>,
    /// User named in the new key
    #[arg(long, value_name = "USER")]
    user: Option<String>,
    /// File that holds the new password
    #[arg(long, value_name = "FILE")]
    new_password_file: Option<PathBuf>,
    /// Use an empty password for the new key (insecure)
    #[arg(long)]
    new_insecure_no_password: bool,
}

/// A key as restic lists it.
#[derive(Serialize)]
struct KeyItem {
    current: bool,
    id: Id,
    #[serde(rename = "userName")]
    user_name: String,
    #[serde(rename = "hostName")]
    host_name: String,
    created: String,
}

/// Runs what was asked for.
pub fn run(context: &Context, arguments: &Arguments) -> Result<u8, Failure> {
    match &arguments.action {
        Action::List => list(context),
        Action::Add(new) => add(context, new),
        Action::Passwd(new) => passwd(context, new),
        Action::Remove { id } => remove(context, id),
    }
}

fn list(context: &Context) -> Result<u8, Failure> {
    let session = context.open()?;
    let _lock = session.lock_for_reading()?;
    let repository = session.repository();
    let keys = list_keys(
        repository.store(),
        repository.environment(),
        repository.key_id(),
    )?;
    let items: Vec<KeyItem> = keys
        .into_iter()
        .map(|key| KeyItem {
            current: key.current,
            id: key.id,
            user_name: key.username,
            host_name: key.hostname,
            created: units::local_time(key.created),
        })
        .collect();
    if context.global.json {
        json::print(&items);
        return Ok(exit::OK);
    }
    let mut table = Table::new(&[" ID", "User", "Host", "Created"]);
    for item in &items {
        let mark = if item.current { '*' } else { ' ' };
        table.push(vec![
            format!("{mark}{}", item.id.short()),
            clean(&item.user_name),
            clean(&item.host_name),
            item.created.clone(),
        ]);
    }
    for line in table.lines() {
        message::line(line);
    }
    Ok(exit::OK)
}

fn new_password(arguments: &NewKeyArguments) -> Result<Password, Failure> {
    match (
        &arguments.new_password_file,
        arguments.new_insecure_no_password,
    ) {
        (Some(_), true) => Err(Failure::new(
            "--new-password-file and --new-insecure-no-password exclude each other",
        )),
        (Some(file), false) => password::refuse_empty(password::from_file(file)?),
        (None, true) => Ok(Password::default()),
        (None, false) => password::prompt_twice("enter new password: "),
    }
}

/// Makes the key and hands it to `make`, with the names for it filled in.
fn with_new_key<T>(
    context: &Context,
    arguments: &NewKeyArguments,
    make: impl FnOnce(&NewKey<'_>) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let environment = context.environment();
    let password = new_password(arguments)?;
    let username = arguments.user.clone();
    let hostname = arguments.host.clone();
    make(&NewKey {
        password: &password,
        cost: calibrate_scrypt(&*environment.clock)?,
        username: &username.unwrap_or_else(|| environment.username.clone()),
        hostname: &hostname.unwrap_or_else(|| environment.hostname.clone()),
    })
}

fn add(context: &Context, arguments: &NewKeyArguments) -> Result<u8, Failure> {
    let session = context.open()?;
    let _lock = session.lock_shared()?;
    let id = with_new_key(context, arguments, |new| {
        Ok(add_verified_key(session.repository(), new)?)
    })?;
    message::line(format!("saved new key with ID {id}"));
    Ok(exit::OK)
}

fn passwd(context: &Context, arguments: &NewKeyArguments) -> Result<u8, Failure> {
    let session = context.open()?;
    let lock = session.lock_exclusive()?;
    let removal = Removal::new(session.repository(), session.deletes(), &lock)?;
    let id = with_new_key(context, arguments, |new| {
        Ok(change_password(session.repository(), &removal, new)?)
    })?;
    message::line(format!("saved new key as {id}"));
    Ok(exit::OK)
}

fn remove(context: &Context, prefix: &str) -> Result<u8, Failure> {
    let session = context.open()?;
    let lock = session.lock_exclusive()?;
    let removal = Removal::new(session.repository(), session.deletes(), &lock)?;
    let id = find_key(session.repository(), prefix)?;
    remove_key(session.repository(), &removal, id)?;
    message::line(format!("removed key {id}"));
    Ok(exit::OK)
}
