//! `status` where several custodians keep backups: every data set at every custodian, from what is
//! known on this machine alone.

use std::collections::BTreeMap;

use outlast_custody::SafetyVerdict;
use outlast_ops::{Custodian, CustodianRow, Safety, SetStatus, moment, now, renewal_needed_until};
use serde::Serialize;

use crate::context::Context;
use crate::exit::{self, Failure};
use crate::render::table::Table;
use crate::render::{json, message};

const DAY: u64 = 86_400;
/// Widest name of a data set.
const NAME_CHARACTERS_MAX: usize = 40;
/// Longest list of what to do.
const ADVICE_MAX: usize = 10;

#[derive(Serialize)]
struct Report<'a> {
    message_type: &'static str,
    safe: bool,
    data_sets: usize,
    data_sets_safe: usize,
    custodians: Vec<String>,
    sets: Vec<SetReport<'a>>,
    advice: Vec<String>,
}

#[derive(Serialize)]
struct SetReport<'a> {
    host: &'a str,
    paths: &'a [String],
    newest_snapshot: Option<String>,
    newest_time: Option<u64>,
    safe: bool,
    verdict: Option<&'a SafetyVerdict>,
    text: String,
    custodians: &'a [CustodianRow],
}

/// Shows all data sets.
pub fn run(context: &Context, safety: &mut Safety) -> Result<u8, Failure> {
    let now = now();
    let mut sets = safety.sets(now)?;
    // What needs somebody comes first.
    sets.sort_by_key(is_safe);
    let safe = sets.iter().filter(|set| is_safe(set)).count();
    let most = if context.global.json {
        usize::MAX
    } else {
        ADVICE_MAX
    };
    let advice = advice(safety, &sets, now, most);
    if context.global.json {
        json::print(&Report {
            message_type: "custody_status",
            safe: safe == sets.len() && !sets.is_empty(),
            data_sets: sets.len(),
            data_sets_safe: safe,
            custodians: safety.names(),
            sets: sets.iter().map(|set| report(safety, set)).collect(),
            advice,
        });
        return Ok(exit::OK);
    }
    let names = safety.names();
    let mut heading = vec!["data set", "newest"];
    heading.extend(names.iter().map(String::as_str));
    heading.push("verdict");
    let mut table = Table::new(&heading);
    for set in &sets {
        let mut row = vec![name(set), newest(set, now)];
        row.extend(set.rows.iter().map(|row| cell(set, row, now)));
        row.push(if is_safe(set) { "safe" } else { "NOT SAFE YET" }.to_owned());
        table.push(row);
    }
    for line in table.lines() {
        message::line(super::clean(&line));
    }
    message::line("");
    message::line(match (sets.len(), safe) {
        (0, _) => "nothing is backed up yet: run `outlast protect PATH`".to_owned(),
        (1, _) => sentence(safety, &sets[0]),
        (all, safe) if all == safe => format!("SAFE: all {all} data sets"),
        (all, safe) => format!("NOT SAFE YET: {} of {all} data sets", all - safe),
    });
    for line in advice {
        message::line(line);
    }
    Ok(exit::OK)
}

fn is_safe(set: &SetStatus) -> bool {
    set.newest
        .as_ref()
        .is_some_and(|newest| newest.verdict.is_safe())
}

fn sentence(safety: &Safety, set: &SetStatus) -> String {
    match &set.newest {
        Some(newest) => safety.sentence(&newest.verdict),
        None => "there is no snapshot yet".to_owned(),
    }
}

fn report<'a>(safety: &Safety, set: &'a SetStatus) -> SetReport<'a> {
    let newest = set.set.snapshots.first();
    SetReport {
        host: &set.set.host,
        paths: &set.set.paths,
        newest_snapshot: newest.map(|newest| newest.snapshot.0.to_hex()),
        newest_time: newest.map(|newest| newest.time),
        safe: is_safe(set),
        verdict: set.newest.as_ref().map(|newest| &newest.verdict),
        text: sentence(safety, set),
        custodians: &set.rows,
    }
}

fn name(set: &SetStatus) -> String {
    let name = format!("{}:{}", set.set.host, set.set.paths.join(" "));
    if name.chars().count() <= NAME_CHARACTERS_MAX {
        return name;
    }
    let start: String = name.chars().take(NAME_CHARACTERS_MAX - 1).collect();
    format!("{start}…")
}

fn newest(set: &SetStatus, now: u64) -> String {
    let newest = set.set.snapshots.first();
    newest.map_or_else(
        || "-".to_owned(),
        |newest| format!("{} ago", age(now, newest.time)),
    )
}

fn age(now: u64, time: u64) -> String {
    match now.saturating_sub(time) {
        seconds if seconds < 3600 => format!("{} min", seconds / 60),
        seconds if seconds < 2 * DAY => format!("{} h", seconds / 3600),
        seconds => format!("{} d", seconds / DAY),
    }
}

/// For how long the newest snapshot is held, or how old the one is that is held.
fn cell(set: &SetStatus, row: &CustodianRow, now: u64) -> String {
    let (Some(time), Some(until)) = (row.time, row.held_until) else {
        return "-".to_owned();
    };
    let newest = set.set.snapshots.first().map(|newest| newest.time);
    match newest == Some(time) && row.why.is_none() {
        true => format!("{} d", until.saturating_sub(now) / DAY),
        false => format!("{} old", age(now, time)),
    }
}

/// Buckets whose retention does not reach as far ahead as it should.
fn renewals_overdue(safety: &Safety, sets: &[SetStatus], now: u64) -> Vec<String> {
    let overdue = |keeper: &Custodian| {
        let name = &keeper.name;
        let needed = renewal_needed_until(keeper, now)?;
        let newest = sets.iter().filter_map(|set| set.set.snapshots.first());
        let untils = newest.filter_map(|one| Some(one.evidence.get(name)?.retained_until));
        let soonest = untils.min()?;
        let until = soonest.map_or_else(|| "nobody knows when".to_owned(), moment);
        (soonest.unwrap_or(0) < needed).then(|| {
            format!(
                "ALARM: {name} retains some objects until {until} only, less than two thirds of its \
                 period ahead; run `outlast bucket renew {name}`"
            )
        })
    };
    safety.keepers().iter().filter_map(overdue).collect()
}

/// What is missing, and the command that mends it.
fn advice(safety: &Safety, sets: &[SetStatus], now: u64, most: usize) -> Vec<String> {
    let mut reasons: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    let unsafe_sets = sets.iter().filter(|set| !is_safe(set));
    for row in unsafe_sets.flat_map(|set| &set.rows) {
        if let Some(why) = &row.why {
            *reasons.entry((&row.custodian, why)).or_default() += 1;
        }
    }
    let mut lines: Vec<String> = reasons
        .iter()
        .map(|((custodian, why), count)| match count {
            1 => format!("{custodian}: {why}; mend it with `outlast sync {custodian}`"),
            count => {
                format!("{custodian}: {why} ({count} data sets); mend it with `outlast sync {custodian}`")
            }
        })
        .collect();
    for keeper in safety.keepers() {
        let Some(folder) = keeper.folder().filter(|folder| folder.is_removable) else {
            continue;
        };
        let shown = sets.iter().flat_map(|set| &set.rows);
        let shown = shown.filter(|row| row.custodian == keeper.name);
        let last = shown.filter_map(|row| row.time).min();
        let days = last.map(|last| now.saturating_sub(last) / DAY);
        if days.is_some_and(|days| days > u64::from(folder.remind_days)) {
            lines.push(format!(
                "{}: nothing was written to it for {} days; attach it and run `outlast protect`",
                keeper.name,
                days.unwrap_or_default()
            ));
        }
    }
    lines.extend(renewals_overdue(safety, sets, now));
    if lines.len() > most {
        let more = lines.len() - most;
        lines.truncate(most);
        lines.push(format!("and {more} more, which --json lists"));
    }
    // A policy that stops being satisfied soon is said before it is too late.
    let soonest = sets
        .iter()
        .filter_map(|set| match &set.newest.as_ref()?.verdict {
            SafetyVerdict::Safe { until, .. } => Some(*until),
            SafetyVerdict::NotYet { .. } => None,
        });
    if let Some(until) = soonest.min() {
        lines.push(format!(
            "safe until {} if nothing more is done",
            moment(until)
        ));
    }
    lines
}
