//! Answers as people and programs read them.

use std::io::{IsTerminal, Write};

use outlast_custody::{Entry, Event, Settings};

use crate::ask::{Answer, Checked, Repository, Scrubbed, SealRow, Status, Token};
use crate::exit::note;
use crate::units::{length, moment, size};

/// Bytes on standard output. A reader that has gone away ends the output quietly.
pub fn bytes(bytes: &[u8]) {
    let mut output = std::io::stdout().lock();
    if output
        .write_all(bytes)
        .and_then(|()| output.flush())
        .is_err()
    {
        std::process::exit(0);
    }
}

fn line(text: impl AsRef<str>) {
    // Labels are whatever an operator or a client wrote: a terminal gets no commands from them.
    let clean = |character: char| {
        if character.is_control() {
            '\u{fffd}'
        } else {
            character
        }
    };
    let mut text: String = text.as_ref().chars().map(clean).collect();
    text.push('\n');
    bytes(text.as_bytes());
}

/// How far long work is, on a terminal.
pub fn progress(done: u64, total: u64) {
    let mut output = std::io::stderr().lock();
    if output.is_terminal() {
        let percent = done.saturating_mul(100).checked_div(total).unwrap_or(0);
        let text = format!("\r{percent} %, {} of {} ", size(done), size(total));
        // Where nobody reads there is nobody to tell.
        let _ = output.write_all(text.as_bytes());
        let _ = output.flush();
    }
}

/// How many objects of how many, on a terminal.
pub fn objects(done: u64, total: u64) {
    let mut output = std::io::stderr().lock();
    if output.is_terminal() && done.is_multiple_of(256) {
        let text = format!("\r{done} of {total} objects ");
        let _ = output.write_all(text.as_bytes());
        let _ = output.flush();
    }
}

/// Ends what [`progress`] wrote.
pub fn progress_end() {
    let mut output = std::io::stderr().lock();
    if output.is_terminal() {
        let _ = output.write_all(b"\r\x1b[K");
    }
}

/// A table with a line of headings.
fn table(headings: &[&str], rows: &[Vec<String>]) {
    let mut widths: Vec<usize> = headings.iter().map(|text| text.len()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let show = |cells: Vec<&str>| {
        let padded = cells.iter().zip(&widths);
        let text: String = padded
            .map(|(cell, width)| format!("{cell:width$}  "))
            .collect();
        line(text.trim_end());
    };
    show(headings.to_vec());
    for row in rows {
        show(row.iter().map(String::as_str).collect());
    }
}

/// Shows an answer.
pub fn answer(answer: &Answer, json: bool) {
    if json {
        // What was read from JSON has a JSON form.
        line(serde_json::to_string(answer).unwrap_or_default());
        return;
    }
    match answer {
        Answer::Repository(repository) => one_repository(repository),
        Answer::Repositories(all) => repositories(all),
        Answer::Token { token, secret } => {
            line(format!("token   {token}"));
            line(format!("secret  {secret}"));
            note("This is the only time that the secret is shown.");
        }
        Answer::Tokens(all) => tokens(all),
        Answer::Invite {
            invite,
            is_new_repository,
        } => {
            if *is_new_repository {
                note("The repository was added with the settings for new ones.");
            }
            note(
                "On the machine to be backed up, run `outlast custodian add` with this line. Whoever has it can add backups:",
            );
            line(invite);
        }
        Answer::Entered { index } => line(format!("done; entry {index} of the log")),
        Answer::Done => line("done"),
        Answer::Seals(all) => seals(all),
        Answer::Status(found) => status(found),
        Answer::Entries(all) => {
            for (index, found) in all {
                entry(*index, found);
            }
        }
        Answer::Scrubbed(found) => scrubbed(found),
    }
}

fn settings_text(settings: &Settings) -> String {
    format!(
        "quota {}, held at least {}, sealed for {}, at most {}{}",
        size(settings.quota_bytes),
        length(settings.hold_seconds_min),
        length(settings.hold_seconds),
        length(settings.hold_seconds_max),
        match settings.append_read_bytes_daily {
            0 => String::new(),
            bytes => format!(", append tokens read {} of packs a day", size(bytes)),
        }
    )
}

fn one_repository(repository: &Repository) {
    line(format!(
        "{}: {}",
        repository.repository,
        settings_text(&repository.settings)
    ));
}

fn repositories(all: &[Repository]) {
    let row = |repository: &Repository| {
        vec![
            repository.repository.to_string(),
            repository.objects.to_string(),
            size(repository.bytes),
            size(repository.settings.quota_bytes),
            repository.seals.to_string(),
            if repository.has_exact_seals {
                "exact"
            } else {
                "everything"
            }
            .to_owned(),
        ]
    };
    let rows: Vec<_> = all.iter().map(row).collect();
    let headings = ["repository", "objects", "size", "quota", "seals", "sealed"];
    table(&headings, &rows);
}

fn tokens(all: &[Token]) {
    let row = |token: &Token| {
        let scopes: Vec<_> = token
            .scopes
            .iter()
            .map(|scope| format!("{scope:?}").to_lowercase())
            .collect();
        vec![
            token.token.to_string(),
            token.repository.to_string(),
            scopes.join(","),
            if token.is_revoked { "revoked" } else { "valid" }.to_owned(),
            token.label.clone(),
        ]
    };
    let rows: Vec<_> = all.iter().map(row).collect();
    table(&["token", "repository", "scopes", "state", "label"], &rows);
}

fn seals(all: &[SealRow]) {
    let row = |row: &SealRow| {
        vec![
            row.index.to_string(),
            row.seal.snapshot.0.to_hex()[..8].to_owned(),
            row.seal.objects.to_string(),
            size(row.seal.bytes),
            moment(row.until),
            match row.seal.list {
                Some(_) => "exact",
                None => "everything",
            }
            .to_owned(),
        ]
    };
    let rows: Vec<_> = all.iter().map(row).collect();
    let headings = [
        "seal",
        "snapshot",
        "objects",
        "size",
        "held until",
        "covers",
    ];
    table(&headings, &rows);
}

fn status(status: &Status) {
    line(format!("identity    {}", status.identity));
    let pin = status.pin.as_deref().unwrap_or("none: no TLS");
    line(format!("pin         {pin}"));
    line(format!("addresses   {}", status.addresses.join(", ")));
    line(format!(
        "state       {}{}",
        if status.is_serving {
            "serving"
        } else {
            "not serving"
        },
        match &status.read_only {
            Some(reason) => format!(", READ-ONLY ({reason}); run `outlast-vault fsck`"),
            None => String::new(),
        }
    ));
    line(format!("vault time  {}", moment(status.time)));
    line(format!("clock       {}", moment(status.clock)));
    line(format!("log         {} entries", status.log_entries));
    let scrubbed = status.last_scrub.map(moment);
    line(format!(
        "scrub       {}{}",
        scrubbed.as_deref().unwrap_or("none yet"),
        match status.damaged_objects {
            0 => String::new(),
            count => format!(", {count} OBJECTS DAMAGED OR MISSING"),
        }
    ));
    line(format!(
        "disk        {} free of {}",
        size(status.disk_free_bytes),
        size(status.disk_total_bytes)
    ));
    for repository in &status.repositories {
        let seals = match (repository.seals, repository.has_exact_seals) {
            (0, _) => "no seal yet".to_owned(),
            (count, true) => format!("{count} seals"),
            (count, false) => {
                format!("{count} seals that cover everything: nothing ever becomes releasable")
            }
        };
        line(format!(
            "repository  {}: {} objects, {} of {}; {seals}",
            repository.repository,
            repository.objects,
            size(repository.bytes),
            size(repository.settings.quota_bytes),
        ));
    }
}

fn entry(index: u64, entry: &Entry) {
    let text = match &entry.event {
        Event::Start(start) => format!("start    {}", start.software),
        Event::Repository(added) => {
            format!(
                "settings {}: {}",
                added.repository,
                settings_text(&added.settings)
            )
        }
        Event::Token(added) => format!(
            "token    {} for {} {:?} {}",
            added.token, added.repository, added.scopes, added.label
        ),
        Event::Revoke(revoked) => format!("revoke   {}", revoked.token),
        Event::Admit(admitted) => format!(
            "admit    {}/{}/{} {}",
            admitted.repository,
            admitted.kind,
            admitted.id.0,
            size(admitted.size)
        ),
        Event::Seal(seal) => format!(
            "seal     {} snapshot {} with {} objects until {}",
            seal.repository,
            &seal.snapshot.0.to_hex()[..8],
            seal.objects,
            moment(seal.until)
        ),
        Event::Hold(hold) => format!(
            "hold     {} seal {} until {}",
            hold.repository,
            hold.seal,
            moment(hold.until)
        ),
        Event::Refusals(refusals) => format!("refused  {:?}", refusals.counts),
        Event::Scrub(scrub) => format!(
            "scrub    {} objects, {}, {} damaged",
            scrub.objects,
            size(scrub.bytes),
            scrub.damaged
        ),
    };
    line(format!("{index:>8}  {}  {text}", moment(entry.time)));
}

/// Shows what came of a check.
pub fn checked(found: &Checked, json: bool) {
    if json {
        line(serde_json::to_string(found).unwrap_or_default());
        return;
    }
    for finding in &found.findings {
        line(finding);
    }
    line(format!(
        "{} entries, {} seals, {} objects, {} read: {}",
        found.entries,
        found.seals,
        found.objects,
        size(found.bytes_read),
        match (found.is_clean, found.is_ledger_sound) {
            (true, _) => "nothing is wrong",
            (false, true) => "OBJECTS ARE DAMAGED OR MISSING; the ledger is sound",
            (false, false) => "THE LEDGER IS DAMAGED: the vault takes nothing more",
        }
    ));
}

fn scrubbed(found: &Scrubbed) {
    line(format!(
        "read {} objects, {}: {}",
        found.objects,
        size(found.bytes),
        match found.damaged.len() {
            0 => "all are what their names say".to_owned(),
            count => format!("{count} DAMAGED OR MISSING"),
        }
    ));
    for name in &found.damaged {
        line(name);
    }
}
