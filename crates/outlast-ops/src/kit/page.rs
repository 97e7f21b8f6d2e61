//! The page: what a stranger needs to know, in the order in which it is needed. Pure.

use zeroize::Zeroizing;

use super::content::{CopyPlace, KitCopy, KitKey, Sheet};
use super::lines::Section;
use super::sheet_sections;
use crate::status::shell_quote;

/// The facts that a page tells and that nobody has to type.
#[derive(Debug, Clone)]
pub struct PageFacts {
    /// The day on which it was made, as 2026-11-23.
    pub made: String,
    /// The machine whose backups they are.
    pub host: String,
    /// The program that made it, with its version.
    pub program: String,
    /// Words of whoever made it: where the program is to be had, whom to call.
    pub note: Option<String>,
}

/// A part of the page.
#[derive(Clone)]
pub enum Block {
    /// A heading.
    Heading(String),
    /// A paragraph.
    Paragraph(String),
    /// What nobody must overlook.
    Warning(String),
    /// Facts with their names.
    Facts(Vec<(String, String)>),
    /// Commands for a shell, in order.
    Commands(Vec<Zeroizing<String>>),
    /// A program to be typed into a file.
    Program(&'static str),
    /// Lines to type; the page in HTML has them as a QR code too.
    Lines(Section, Vec<String>),
}

/// A page.
#[derive(Clone)]
pub struct Page {
    /// What it is.
    pub title: String,
    /// Its parts.
    pub blocks: Vec<Block>,
}

/// Makes the password of enough sheets, in Python.
const JOIN_PROGRAM: &str = include_str!("join.py");
/// Brings the true versions of a bucket into a folder, in shell.
const BUCKET_PROGRAM: &str = include_str!("bucket.sh");
/// How the lines of programs begin in the text.
const PROGRAM_MARK: &str = "| ";

/// How commands are set apart in the text; nothing else begins so.
const COMMAND_INDENT: &str = "    ";
/// Width of paragraphs.
const WIDTH: usize = 78;

struct Builder(Vec<Block>);

impl Builder {
    fn heading(&mut self, text: impl Into<String>) {
        self.0.push(Block::Heading(text.into()));
    }
    fn say(&mut self, text: impl Into<String>) {
        self.0.push(Block::Paragraph(text.into()));
    }
    fn commands<T: Into<String>>(&mut self, commands: impl IntoIterator<Item = T>) {
        let guard = |text: T| Zeroizing::new(text.into());
        self.0
            .push(Block::Commands(commands.into_iter().map(guard).collect()));
    }
}

/// Makes the page of a sheet; none if something in it is too long for a kit.
pub fn write_page(sheet: &Sheet, facts: &PageFacts) -> Option<Page> {
    let mut out = Builder(Vec::new());
    introduce(&mut out, sheet, facts);
    with_outlast(&mut out, sheet);
    with_restic(&mut out, sheet);
    out.heading("4. Where the copies are");
    for (number, copy) in (1..).zip(&sheet.copies) {
        out.say(format!("C{number}: {}", describe(copy)));
        out.0.push(Block::Facts(facts_of(copy)));
    }
    out.heading("5. The lines to type");
    out.say(
        "Upper or lower case, spaces and line breaks between groups are of no account; O is taken \
         for 0, I and L for 1. The last group of each line is its check, so that a mistyped line \
         is named. In print, each part is a QR code too: what a scanner reads can be pasted instead.",
    );
    for (section, lines) in sheet_sections(sheet)? {
        out.0.push(Block::Lines(section, lines));
    }
    let title = match &sheet.key {
        KitKey::Whole(_) => "Recovery kit".to_owned(),
        KitKey::Share(share) => format!(
            "Recovery kit, sheet {} of {}",
            share.number,
            share.commitments.len()
        ),
    };
    Some(Page {
        title,
        blocks: out.0,
    })
}

fn introduce(out: &mut Builder, sheet: &Sheet, facts: &PageFacts) {
    let warning = match &sheet.key {
        KitKey::Whole(_) => {
            "This paper is worth as much as the backups: whoever has it can read all of them. Keep \
             it under lock, away from the machines, never as a file or photograph on one of them."
                .to_owned()
        }
        KitKey::Share(share) => format!(
            "This sheet is one of {}; any {} of them read all backups. Keep each under lock at a \
             different place, away from the machines, never as a file or photograph on one of them.",
            share.commitments.len(),
            share.threshold
        ),
    };
    out.0.push(Block::Warning(warning));
    let mut about = vec![
        ("kit".to_owned(), sheet.id.to_string()),
        (
            "made".to_owned(),
            format!("{} by {}", facts.made, facts.program),
        ),
        ("backups of".to_owned(), facts.host.clone()),
        ("repository".to_owned(), hex::encode(sheet.repository)),
        ("copies".to_owned(), sheet.copies.len().to_string()),
    ];
    if let Some(note) = &facts.note {
        about.push(("note".to_owned(), note.clone()));
    }
    out.0.push(Block::Facts(about));
    out.heading("1. What this is");
    out.say(
        "The files of the machine named above were backed up, encrypted, to several places. With \
         this kit, any clean computer with Linux and any one of the places, everything comes back; \
         nothing of the old machines is needed. If somebody broke in, do not use a machine that \
         they may have touched.",
    );
}

fn with_outlast(out: &mut Builder, sheet: &Sheet) {
    out.heading("2. With outlast");
    let many = match &sheet.key {
        KitKey::Whole(_) => String::new(),
        KitKey::Share(share) => format!(
            " Type {} sheets, one after the other into the same file.",
            share.threshold
        ),
    };
    out.say(format!(
        "Install outlast. Type the lines of part 5 into a file kit.txt.{many} The first command \
         says which line is mistyped, if any, and which copies can be read; the second shows what \
         is in them; the third brings back the newest snapshot.",
    ));
    // Not set apart as commands: they need a file that has to be typed first.
    out.0.push(Block::Facts(vec![
        ("check".to_owned(), "outlast kit --check kit.txt".to_owned()),
        (
            "list".to_owned(),
            "outlast recover --kit kit.txt".to_owned(),
        ),
        (
            "restore".to_owned(),
            "outlast recover --kit kit.txt latest --target restored".to_owned(),
        ),
    ]));
}

fn with_restic(out: &mut Builder, sheet: &Sheet) {
    out.heading("3. Without outlast");
    out.say(
        "restic (https://restic.net, version 0.14 or newer; a package of the same name in most \
         systems) reads the copies too. These commands are for a shell; one copy is enough.",
    );
    let KitKey::Whole(password) = &sheet.key else {
        out.say(
            "The password is split. Type the lines of part 5 of enough sheets into kit.txt, and this \
             program into join.py; then: python3 join.py < kit.txt > password",
        );
        out.0.push(Block::Program(JOIN_PROGRAM));
        copies_with_restic(out, sheet);
        return;
    };
    let write = match std::str::from_utf8(password) {
        Ok(text) if !text.chars().any(char::is_control) => {
            format!("printf '%s\\n' {} > password", shell_quote(text))
        }
        _ => {
            use base64::Engine as _;
            let text = base64::engine::general_purpose::STANDARD.encode(password);
            format!("printf '%s\\n' {text} | base64 -d > password")
        }
    };
    out.commands(["umask 077", write.as_str()]);
    copies_with_restic(out, sheet);
}

fn copies_with_restic(out: &mut Builder, sheet: &Sheet) {
    for (number, copy) in (1..).zip(&sheet.copies) {
        let label = format!("C{number}");
        out.say(format!("{label}, {}:", copy.name));
        match restic_commands(&label, copy) {
            Ok(commands) => out.0.push(Block::Commands(commands)),
            Err(why) => out.say(why),
        }
    }
    let is_bucket = |copy: &KitCopy| matches!(copy.place, CopyPlace::Bucket { .. });
    if sheet.copies.iter().any(is_bucket) {
        out.say(
            "restic reads the newest versions in a bucket, which somebody may have planted. This \
             program, typed into bucket.sh, brings the true ones into a folder first, with the \
             provider's own tool, aws. `outlast export` does the same.",
        );
        out.0.push(Block::Program(BUCKET_PROGRAM));
    }
}

/// What restic is asked, given how it reaches the repository.
fn restic(label: &str, reach: &str) -> [Zeroizing<String>; 2] {
    let command = |what: &str| {
        Zeroizing::new(format!(
            "restic {reach} --password-file password --no-lock {what}"
        ))
    };
    [
        command("snapshots"),
        command(&format!("restore latest --target restored-{label}")),
    ]
}

/// The commands with which stock restic reads a copy, or why there are none.
fn restic_commands(label: &str, copy: &KitCopy) -> Result<Vec<Zeroizing<String>>, String> {
    let mut commands = Vec::new();
    let remember = |location: String| {
        let location = Zeroizing::new(location);
        let quoted = Zeroizing::new(shell_quote(&location));
        Zeroizing::new(format!("printf '%s\\n' {} > {label}.repository", *quoted))
    };
    let file = format!("--repository-file {label}.repository");
    match &copy.place {
        CopyPlace::Vault {
            addresses,
            pin,
            repository,
            token,
            ..
        } => {
            let Some((token, secret)) = token else {
                return Err(no_token(repository.as_str()));
            };
            let address = addresses.first().map_or("", String::as_str);
            let login = Zeroizing::new(format!("{token}:{}", **secret));
            let Some(pin) = pin else {
                let url = format!("rest:http://{}@{address}/{repository}/", *login);
                commands.push(remember(url));
                commands.extend(restic(label, &file));
                return Ok(commands);
            };
            // Only the key is pinned, so the certificate is fetched and its key compared.
            let address_word = shell_quote(address);
            let plain = |text: String| Zeroizing::new(text);
            commands.push(plain(format!(
                "openssl s_client -connect {address_word} < /dev/null 2> /dev/null | openssl x509 > {label}.pem"
            )));
            commands.push(plain(format!(
                "openssl x509 -in {label}.pem -noout -pubkey | openssl pkey -pubin -outform DER > {label}.key"
            )));
            commands.push(plain(format!(
                "echo '{}  {label}.key' | sha256sum --check",
                hex::encode(pin)
            )));
            commands.push(remember(format!(
                "rest:https://{}@{address}/{repository}/",
                *login
            )));
            commands.extend(restic(label, &format!("--cacert {label}.pem {file}")));
        }
        CopyPlace::Rest { url, login } => {
            let mut url = url::Url::parse(url).map_err(|error| error.to_string())?;
            if let Some((user, password)) = login {
                let set = url
                    .set_username(user)
                    .and_then(|()| url.set_password(Some(password)));
                set.map_err(|()| "its address takes no user and password".to_owned())?;
            }
            commands.push(remember(format!("rest:{url}")));
            commands.extend(restic(label, &file));
        }
        CopyPlace::Folder { path, .. } => {
            commands.extend(restic(label, &format!("-r {}", shell_quote(path))));
        }
        CopyPlace::Sftp { address } => {
            commands.extend(restic(label, &format!("-r {}", shell_quote(address))));
        }
        CopyPlace::Bucket {
            endpoint,
            region,
            bucket,
            prefix,
            access,
        } => {
            if let Some((key, secret)) = access {
                commands.push(Zeroizing::new(format!(
                    "export AWS_ACCESS_KEY_ID={} AWS_SECRET_ACCESS_KEY={}",
                    shell_quote(key),
                    shell_quote(secret)
                )));
            }
            // The tool wants one, also where the service does not care.
            let region = if region.is_empty() {
                "us-east-1"
            } else {
                region
            };
            let place = format!(
                "export AWS_ENDPOINT_URL={} AWS_DEFAULT_REGION={}",
                shell_quote(endpoint),
                shell_quote(region)
            );
            commands.push(Zeroizing::new(place));
            let prefix = match prefix.as_str() {
                "" => String::new(),
                prefix => format!("{prefix}/"),
            };
            let (bucket, prefix) = (shell_quote(bucket), shell_quote(&prefix));
            commands.push(Zeroizing::new(format!(
                "sh bucket.sh {bucket} {prefix} {label}-true"
            )));
            commands.extend(restic(label, &format!("-r {label}-true")));
        }
    }
    Ok(commands)
}

fn no_token(repository: &str) -> String {
    format!(
        "reading needs a token, which is not on this paper. Its operator makes one with \
         `outlast-vault invite {repository} --scope restore`; outlast takes that line as \
         `outlast recover --kit kit.txt --invite FILE`."
    )
}

fn describe(copy: &KitCopy) -> String {
    let name = &copy.name;
    match &copy.place {
        CopyPlace::Vault { repository, .. } => {
            format!("a vault, {name}, with the repository {repository}")
        }
        CopyPlace::Bucket { bucket, .. } => format!("a bucket, {name}: {bucket}"),
        CopyPlace::Folder { .. } => format!("a folder or disk, {name}"),
        CopyPlace::Sftp { .. } => format!("a folder reached by SSH, {name}"),
        CopyPlace::Rest { .. } => format!("a restic REST server, {name}"),
    }
}

fn facts_of(copy: &KitCopy) -> Vec<(String, String)> {
    let fact = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    match &copy.place {
        CopyPlace::Vault {
            addresses,
            pin,
            identity,
            repository,
            token,
        } => {
            let pin = pin.map_or("none, plain HTTP".to_owned(), hex::encode);
            let token = match token {
                Some((id, _)) => format!("{id}, which reads ciphertext and changes nothing"),
                None => no_token(repository.as_str()),
            };
            vec![
                fact("address", &addresses.join(", ")),
                fact("TLS key", &format!("SHA-256 {pin}")),
                fact("identity", &identity.to_string()),
                fact("token", &token),
            ]
        }
        CopyPlace::Bucket {
            endpoint,
            region,
            bucket,
            prefix,
            access,
        } => {
            let access = access.as_ref().map_or(
                "not on this paper; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY to one that reads",
                |(id, _)| id.as_str(),
            );
            vec![
                fact("service", endpoint),
                fact("region", region),
                fact("bucket", bucket),
                fact("prefix", prefix),
                fact("access key", access),
            ]
        }
        CopyPlace::Folder { path, mark, .. } => {
            let mut facts = vec![fact("path", path)];
            if !mark.is_empty() {
                let which = format!("the one whose file outlast-custodian begins with {mark}");
                facts.push(fact("which", &which));
            }
            facts
        }
        CopyPlace::Sftp { address } => vec![
            fact("address", address),
            fact("login", "by SSH; its operator lets a key of yours in"),
        ],
        CopyPlace::Rest { url, login } => {
            let login = login.as_ref().map_or("none", |(user, _)| user.as_str());
            vec![fact("address", url), fact("user", login)]
        }
    }
}

/// A paragraph in lines of bounded width.
fn wrap(text: &str, indent: &str) -> String {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last().map_or(0, |line| line.chars().count());
        if line > 0 && indent.len() + line + 1 + word.chars().count() > WIDTH {
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines.join(&format!("\n{indent}"))
}

/// The page as plain text.
pub fn page_text(page: &Page) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(32 * 1024));
    let title = page.title.to_uppercase();
    text.push_str(&format!("OUTLAST {title}\n"));
    for block in &page.blocks {
        text.push('\n');
        match block {
            Block::Heading(heading) => {
                let line = "=".repeat(heading.chars().count());
                text.push_str(&format!("{heading}\n{line}\n"));
            }
            Block::Paragraph(words) => text.push_str(&(wrap(words, "") + "\n")),
            Block::Warning(words) => {
                text.push_str(&format!("!!! {}\n", wrap(words, "!!! ")));
            }
            Block::Facts(facts) => {
                for (name, value) in facts {
                    let value = format!("{name}: {value}");
                    text.push_str(&format!("  {}\n", wrap(&value, "  ")));
                }
            }
            Block::Commands(commands) => {
                for command in commands {
                    text.push_str(COMMAND_INDENT);
                    text.push_str(command);
                    text.push('\n');
                }
            }
            Block::Program(program) => {
                for line in program.lines() {
                    text.push_str(format!("{PROGRAM_MARK}{line}").trim_end());
                    text.push('\n');
                }
            }
            Block::Lines(_, lines) => {
                for line in lines {
                    text.push_str(line);
                    text.push('\n');
                }
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_programs_are_the_printed_ones() {
        let document = include_str!("../../../../docs/recovery-kit.md");
        for (kind, program) in [("python", JOIN_PROGRAM), ("sh", BUCKET_PROGRAM)] {
            assert!(
                document.contains(&format!("```{kind}\n{program}```")),
                "{kind}"
            );
        }
    }

    #[test]
    fn long_words_and_paragraphs_are_wrapped_and_never_look_like_commands() {
        let text = wrap(&"word    ".repeat(100), "  ");
        assert!(text.lines().all(|line| line.len() <= WIDTH));
        assert!(!text.contains("    "));
        assert_eq!(wrap("", ""), "");
    }
}
