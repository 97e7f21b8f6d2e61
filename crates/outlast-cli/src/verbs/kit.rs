//! `kit`: prints the page with which a stranger gets everything back, and tests one typed again.

use std::io::Read;
use std::path::{Path, PathBuf};

use clap::Args;
use outlast_ops::kit::{
    CopyPlace, KitCopy, KitRequest, MadeKit, MakeError, OpenCopies, PageFacts, Patience, ReadKit,
    Section, Sheet, TYPED_BYTES_MAX, TriedCopy, make_kit, open_copies, page_html, page_text,
    read_kit, write_page,
};
use outlast_ops::{Configuration, Places, write_durably};
use outlast_store::{Location, S3Credentials};
use outlast_wire::Invite;
use serde::Serialize;
use zeroize::Zeroizing;

use super::program_version;
use crate::context::Context;
use crate::exit::{self, Failure};
use crate::password;
use crate::render::{json, message, units};

/// Arguments of `kit`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Test a kit that was typed again
    #[arg(long, requires = "files")]
    check: bool,
    /// What was typed: all sheets in one file, or several files; - is standard input
    #[arg(value_name = "FILE", requires = "check")]
    files: Vec<PathBuf>,
    /// Folder to write the pages into, for their owner alone
    #[arg(long, value_name = "FOLDER", default_value = ".")]
    into: PathBuf,
    /// Print the text to standard output instead of writing files, to a terminal too
    #[arg(long)]
    stdout: bool,
    /// Split the key: K of N sheets bring it back
    #[arg(long, value_name = "K/N", value_parser = numbers)]
    split: Option<(u8, u8)>,
    /// Put the password on paper that is used now, and add no key for the kit
    #[arg(long)]
    existing_password: bool,
    /// File with a key that reads buckets and nothing else, in the form of ~/.aws/credentials
    #[arg(long, value_name = "FILE")]
    bucket_key: Option<PathBuf>,
    /// Words to be printed: where outlast is to be had, whom to call
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
    #[command(flatten)]
    invites: InviteArguments,
}

/// Invites that are used once and not kept.
#[derive(Debug, Clone, Args)]
pub struct InviteArguments {
    /// File with an invite to read with, from `outlast-vault invite NAME --scope restore`
    #[arg(long, value_name = "FILE")]
    invite: Vec<PathBuf>,
}

impl InviteArguments {
    /// Reads them.
    pub fn read(&self) -> Result<Vec<Invite>, Failure> {
        let read = |path: &PathBuf| {
            let text = read_bounded(path)?;
            let lines: String = text.lines().filter(|line| !line.starts_with('#')).collect();
            lines.parse().map_err(|error: outlast_wire::InviteError| {
                Failure::new(format!("{}: {error}", path.display()))
            })
        };
        self.invite.iter().map(read).collect()
    }
}

fn numbers(text: &str) -> Result<(u8, u8), String> {
    let parts = text.split_once('/');
    let parsed = parts.and_then(|(k, n)| Some((k.trim().parse().ok()?, n.trim().parse().ok()?)));
    parsed.ok_or_else(|| "write it as 2/3: two of three sheets bring the key back".to_owned())
}

/// A text that somebody typed or scanned, from a file or standard input.
fn read_bounded(path: &Path) -> Result<Zeroizing<String>, Failure> {
    let failed = |error: std::io::Error| Failure::new(format!("{}: {error}", path.display()));
    let source: Box<dyn Read> = if path == Path::new("-") {
        Box::new(std::io::stdin())
    } else {
        Box::new(std::fs::File::open(path).map_err(failed)?)
    };
    let mut bytes = Zeroizing::new(Vec::with_capacity(64 * 1024));
    source
        .take(TYPED_BYTES_MAX as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    Ok(Zeroizing::new(String::from_utf8_lossy(&bytes).into_owned()))
}

/// Makes a kit, or tests one.
pub fn run(context: &Context, arguments: &Arguments) -> Result<u8, Failure> {
    if arguments.check {
        check(context, arguments)
    } else {
        make(context, arguments)
    }
}

impl From<MakeError> for Failure {
    fn from(error: MakeError) -> Self {
        let text = error.to_string();
        match error {
            MakeError::Custodian(error) => error.into(),
            MakeError::Repository(error) => error.into(),
            MakeError::NoCopy(_) => Failure::new(text).hint("check the password and the location"),
            _ => Failure::new(text),
        }
    }
}

/// The repository and its password: as the global options say, else as `protect` is configured.
fn repository(context: &Context, places: &Places) -> Result<(String, Zeroizing<Vec<u8>>), Failure> {
    let global = &context.global;
    if global.repo.is_some() || global.repository_file.is_some() {
        let location = context.location_text()?;
        let password = context.password(&location)?;
        return Ok((location, password));
    }
    let Some(configuration) = Configuration::read(&places.config_file)? else {
        return Err(Failure::new("there is no backup yet to make a kit for")
            .hint("`outlast protect PATH` makes one; -r names another repository"));
    };
    let password = match password::given_of_repository(global)? {
        Some(password) => password,
        None => password::from_file(&configuration.password_file)?,
    };
    Ok((configuration.repository, password))
}

#[derive(Serialize)]
struct KitMade<'a> {
    message_type: &'static str,
    kit: String,
    files: &'a [String],
    copies: Vec<&'a str>,
    own_key: bool,
    warnings: &'a [String],
}

fn make(context: &Context, arguments: &Arguments) -> Result<u8, Failure> {
    let places = Places::of_user()?;
    let (location, password) = repository(context, &places)?;
    let request = KitRequest {
        location,
        password,
        invites: arguments.invites.read()?,
        bucket_access: match &arguments.bucket_key {
            Some(file) => Some(S3Credentials::read(file, "default")?),
            None => None,
        },
        split: arguments.split,
        existing_password: arguments.existing_password,
        connect: context.connect_options()?,
    };
    let environment = context.environment();
    let made = make_kit(&places, &request, &environment, &context.cancel)?;
    for warning in &made.warnings {
        message::warning(warning);
    }
    let now = environment.clock.now().to_utc().civil();
    let facts = PageFacts {
        made: now.date().to_string(),
        host: environment.hostname.clone(),
        program: program_version(),
        note: arguments.note.clone(),
    };
    let mut files = Vec::new();
    for sheet in &made.sheets {
        let page = write_page(sheet, &facts)
            .ok_or_else(|| Failure::new("the names or secrets of a copy are too long for a kit"))?;
        let text = page_text(&page);
        if arguments.stdout {
            message::line(text.as_str());
            continue;
        }
        for (kind, content) in [("html", page_html(&page)), ("txt", text)] {
            let path = arguments.into.join(file_name(sheet, kind));
            write_secret(&path, content.as_bytes())?;
            files.push(path.display().to_string());
        }
    }
    tell_made(context, &made, &files);
    Ok(exit::OK)
}

/// Writes a file for its owner alone.
pub fn write_secret(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure::new(format!("{}: {error}", path.display()));
    let path = std::path::absolute(path).map_err(failed)?;
    write_durably(&path, bytes, 0o600).map_err(failed)
}

fn file_name(sheet: &Sheet, kind: &str) -> String {
    let id = sheet.id;
    match &sheet.key {
        outlast_ops::kit::KitKey::Whole(_) => format!("outlast-kit-{id}.{kind}"),
        outlast_ops::kit::KitKey::Share(share) => {
            let (number, total) = (share.number, share.commitments.len());
            format!("outlast-kit-{id}-{number}-of-{total}.{kind}")
        }
    }
}

fn tell_made(context: &Context, made: &MadeKit, files: &[String]) {
    let Some(sheet) = made.sheets.first() else {
        return;
    };
    if context.global.json {
        json::print(&KitMade {
            message_type: "kit",
            kit: sheet.id.to_string(),
            files,
            copies: sheet.copies.iter().map(|copy| copy.name.as_str()).collect(),
            own_key: made.has_own_key,
            warnings: &made.warnings,
        });
        return;
    }
    if files.is_empty() {
        return;
    }
    for file in files {
        message::line(format!("wrote {file}"));
    }
    message::line(if made.has_own_key {
        "its key is a key file of its own, which stays good when the password is changed"
    } else {
        "it holds the password that is used now"
    });
    message::line(match made.sheets.len() {
        1 => {
            "Whoever has this paper can read all backups: print it, lock it away, and delete the files."
        }
        _ => "Print the sheets, lock each away at another place, and delete the files.",
    });
    message::line("then type it again and test it with: outlast kit --check FILE");
}

/// Reads the sheets of a kit and tells what is wrong with them.
pub fn read_sheets(paths: &[PathBuf]) -> Result<ReadKit, Failure> {
    let texts: Result<Vec<_>, _> = paths.iter().map(|path| read_bounded(path)).collect();
    let texts = texts?;
    let words: Vec<&str> = texts.iter().map(|text| text.as_str()).collect();
    let kit = read_kit(&words);
    for told in &kit.problems {
        let path = told.sheet.and_then(|sheet| paths.get(sheet));
        match path.filter(|_| paths.len() > 1) {
            Some(path) => message::warning(&format!("{}: {}", path.display(), told.problem)),
            None => message::warning(&told.problem.to_string()),
        }
    }
    Ok(kit)
}

/// The copies to try: those of the kit, with tokens that were given beside it, and others.
pub fn copies_of(
    kit: &ReadKit,
    invites: &[Invite],
    others: &[String],
) -> Result<Vec<(Option<Section>, KitCopy)>, Failure> {
    let mut copies: Vec<(Option<Section>, KitCopy)> = kit
        .copies
        .iter()
        .map(|(section, copy)| (Some(*section), copy.clone()))
        .collect();
    for invite in invites {
        let fresh = Some((invite.token, Zeroizing::new(invite.secret.clone())));
        let mut known = false;
        for (_, copy) in &mut copies {
            if let CopyPlace::Vault {
                identity,
                repository,
                token,
                addresses,
                pin,
            } = &mut copy.place
                && *identity == invite.identity
                && *repository == invite.repository
            {
                *token = fresh.clone();
                // Vaults move: the newer line knows where to.
                *addresses = invite.addresses.clone();
                *pin = invite.pin;
                known = true;
            }
        }
        if !known {
            let copy = KitCopy {
                name: invite.identity.name().to_owned(),
                place: CopyPlace::Vault {
                    addresses: invite.addresses.clone(),
                    pin: invite.pin,
                    identity: invite.identity.clone(),
                    repository: invite.repository.clone(),
                    token: fresh,
                },
            };
            copies.push((None, copy));
        }
    }
    for other in others {
        let place = match Location::parse(other)? {
            Location::Rest(rest) => CopyPlace::Rest {
                url: rest.url.to_string(),
                login: rest.user.zip(
                    rest.password
                        .map(|secret| Zeroizing::new(secret.reveal().to_owned())),
                ),
            },
            Location::S3(bucket) => CopyPlace::Bucket {
                endpoint: bucket.endpoint.to_string(),
                region: String::new(),
                bucket: bucket.bucket,
                prefix: bucket.prefix,
                access: None,
            },
            Location::Sftp(sftp) => CopyPlace::Sftp {
                address: sftp.to_string(),
            },
            Location::Local(path) => CopyPlace::Folder {
                path: path.to_string_lossy().into_owned(),
                below: String::new(),
                mark: String::new(),
            },
        };
        let name = other.clone();
        copies.push((None, KitCopy { name, place }));
    }
    Ok(copies)
}

/// What copies are opened with, if the kit has a key.
pub fn open_with<'a>(
    context: &'a Context,
    kit: &ReadKit,
    patience: Patience,
) -> Result<OpenCopies<'a>, Failure> {
    let Some(password) = &kit.password else {
        return Err(Failure::new("the kit has no usable key").hint(
            "mend the lines that are named above; where the key is split, add another sheet",
        ));
    };
    Ok(OpenCopies {
        repository: kit.repository,
        password: password.clone(),
        connect: context.connect_options()?,
        patience,
        as_of: context.global.as_of.as_deref(),
        cache: context.cache(),
        environment: context.environment(),
        cancel: context.cancel.clone(),
    })
}

#[derive(Serialize)]
struct CopyMessage<'a> {
    message_type: &'static str,
    section: Option<String>,
    name: &'a str,
    opens: bool,
    snapshots: usize,
    newest_snapshot: Option<outlast_object::Id>,
    newest_time: Option<String>,
    error: Option<String>,
}

/// Tells what came of each copy; gives how many open.
pub fn tell_tried(context: &Context, tried: &[TriedCopy]) -> usize {
    for copy in tried {
        let opened = copy.outcome.as_ref().ok();
        let newest = opened.and_then(|opened| opened.newest());
        let section = copy.section.map(|section| section.to_string());
        let time = newest.map(|stored| units::local_time(stored.snapshot.time));
        if context.global.json {
            json::print(&CopyMessage {
                message_type: "copy",
                section,
                name: &copy.copy.name,
                opens: opened.is_some(),
                snapshots: opened.map_or(0, |opened| opened.snapshots.len()),
                newest_snapshot: newest.map(|stored| stored.id),
                newest_time: time,
                error: copy.outcome.as_ref().err().map(ToString::to_string),
            });
            continue;
        }
        let label = section.map_or(String::new(), |section| format!("{section} "));
        let name = super::clean(&copy.copy.name);
        message::line(match (&copy.outcome, newest, time) {
            (Err(error), ..) => format!("{label}{name}: NO: {error}"),
            (Ok(opened), Some(newest), Some(time)) => format!(
                "{label}{name}: opens, {} snapshots, the newest {} of {time}",
                opened.snapshots.len(),
                newest.id.short()
            ),
            (Ok(_), ..) => format!("{label}{name}: opens, no snapshot"),
        });
    }
    tried.iter().filter(|copy| copy.outcome.is_ok()).count()
}

fn check(context: &Context, arguments: &Arguments) -> Result<u8, Failure> {
    let kit = read_sheets(&arguments.files)?;
    let copies = copies_of(&kit, &arguments.invites.read()?, &[])?;
    let tried = open_copies(&copies, &open_with(context, &kit, Patience::Looking)?);
    let opened = tell_tried(context, &tried);
    if opened == tried.len() && opened > 0 && kit.problems.is_empty() {
        if context.is_talkative() {
            message::line(format!("the kit is good: all {opened} copies open"));
        }
        return Ok(exit::OK);
    }
    let problem = if kit.problems.is_empty() {
        String::new()
    } else {
        format!(", and {} problems with its lines", kit.problems.len())
    };
    Err(Failure::new(format!(
        "{opened} of {} copies open with this kit{problem}",
        tried.len()
    ))
    .hint("what is said above of each is to be mended, or a new kit to be made"))
}
