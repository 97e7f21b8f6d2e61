//! `forget`: removes snapshots by a retention policy or by their ids, under the guard.

use clap::Args;
use outlast_format::Time;
use outlast_object::{Id, ObjectKind, ObjectName};
use outlast_ops::{Session, stored_snapshots};
use outlast_repo::{
    GroupBy, GroupKey, GuardContext, GuardedRetention, KeepCount, KeepDuration, Kept, Policy,
    Removal, SnapshotFilter, StoredSnapshot, TagList, Zone, forget, group_snapshots, guard_forget,
};
use serde::Serialize;

use super::clean;
use super::prune::{self, PruneArguments, StageProgress};
use crate::context::Context;
use crate::exit::{self, Failure};
use crate::render::json::SnapshotItem;
use crate::render::table::Table;
use crate::render::{json, message, units};

/// Arguments of `forget`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Keep the newest so many, or `unlimited`
    #[arg(
        short = 'l',
        long,
        value_name = "N",
        default_value = "0",
        hide_default_value = true,
        allow_hyphen_values = true
    )]
    keep_last: KeepCount,
    /// Keep the newest of each hour, for so many hours
    #[arg(
        short = 'H',
        long,
        value_name = "N",
        default_value = "0",
        hide_default_value = true,
        allow_hyphen_values = true
    )]
    keep_hourly: KeepCount,
    /// Keep the newest of each day, for so many days
    #[arg(
        short = 'd',
        long,
        value_name = "N",
        default_value = "0",
        hide_default_value = true,
        allow_hyphen_values = true
    )]
    keep_daily: KeepCount,
    /// Keep the newest of each week, for so many weeks
    #[arg(
        short = 'w',
        long,
        value_name = "N",
        default_value = "0",
        hide_default_value = true,
        allow_hyphen_values = true
    )]
    keep_weekly: KeepCount,
    /// Keep the newest of each month, for so many months
    #[arg(
        short = 'm',
        long,
        value_name = "N",
        default_value = "0",
        hide_default_value = true,
        allow_hyphen_values = true
    )]
    keep_monthly: KeepCount,
    /// Keep the newest of each year, for so many years
    #[arg(
        short = 'y',
        long,
        value_name = "N",
        default_value = "0",
        hide_default_value = true,
        allow_hyphen_values = true
    )]
    keep_yearly: KeepCount,
    /// Keep what is newer than 1y5m7d2h, counted from the newest snapshot
    #[arg(
        long,
        value_name = "DURATION",
        default_value = "",
        hide_default_value = true
    )]
    keep_within: KeepDuration,
    /// Keep the newest of each hour, as far back
    #[arg(
        long,
        value_name = "DURATION",
        default_value = "",
        hide_default_value = true
    )]
    keep_within_hourly: KeepDuration,
    /// Keep the newest of each day, as far back
    #[arg(
        long,
        value_name = "DURATION",
        default_value = "",
        hide_default_value = true
    )]
    keep_within_daily: KeepDuration,
    /// Keep the newest of each week, as far back
    #[arg(
        long,
        value_name = "DURATION",
        default_value = "",
        hide_default_value = true
    )]
    keep_within_weekly: KeepDuration,
    /// Keep the newest of each month, as far back
    #[arg(
        long,
        value_name = "DURATION",
        default_value = "",
        hide_default_value = true
    )]
    keep_within_monthly: KeepDuration,
    /// Keep the newest of each year, as far back
    #[arg(
        long,
        value_name = "DURATION",
        default_value = "",
        hide_default_value = true
    )]
    keep_within_yearly: KeepDuration,
    /// Keep snapshots with all of these tags
    #[arg(long, value_name = "TAGLIST")]
    keep_tag: Vec<String>,
    /// Allow that all snapshots of a group are removed
    #[arg(long)]
    unsafe_allow_remove_all: bool,
    /// Only snapshots of this host
    #[arg(long, env = "RESTIC_HOST", value_name = "HOST")]
    host: Vec<String>,
    /// Only snapshots with all of these tags
    #[arg(long, value_name = "TAG[,TAG,...]")]
    tag: Vec<String>,
    /// Only snapshots that have this path
    #[arg(long, value_name = "PATH")]
    path: Vec<String>,
    /// Show less, so that lines stay short
    #[arg(short, long)]
    compact: bool,
    /// The policy holds for each group: host, paths, tags, separated by commas
    #[arg(short, long, default_value = "host,paths", value_name = "GROUP")]
    group_by: String,
    /// Change nothing, only show what would be done
    #[arg(short = 'n', long)]
    dry_run: bool,
    /// Then remove the data that no snapshot needs any longer
    #[arg(long)]
    prune: bool,
    /// Count snapshots dated in the future as if they were of today
    #[arg(long)]
    allow_future: bool,
    /// Let a burst of new snapshots push out older ones
    #[arg(long)]
    allow_burst: bool,
    #[command(flatten)]
    pruning: PruneArguments,
    /// Snapshots to remove
    #[arg(value_name = "SNAPSHOT")]
    ids: Vec<String>,
}

#[derive(Serialize)]
struct Reason<'a> {
    snapshot: SnapshotItem<'a>,
    matches: &'a [String],
}

#[derive(Serialize)]
struct Group<'a> {
    tags: &'a Option<Vec<String>>,
    host: &'a str,
    paths: &'a Option<Vec<String>>,
    keep: Option<Vec<SnapshotItem<'a>>>,
    remove: Option<Vec<SnapshotItem<'a>>>,
    reasons: Option<Vec<Reason<'a>>>,
}

impl Arguments {
    fn policy(&self) -> Policy {
        Policy {
            last: self.keep_last,
            hourly: self.keep_hourly,
            daily: self.keep_daily,
            weekly: self.keep_weekly,
            monthly: self.keep_monthly,
            yearly: self.keep_yearly,
            within: self.keep_within,
            within_hourly: self.keep_within_hourly,
            within_daily: self.keep_within_daily,
            within_weekly: self.keep_within_weekly,
            within_monthly: self.keep_within_monthly,
            within_yearly: self.keep_within_yearly,
            tags: self.keep_tag.iter().map(|text| tag_list(text)).collect(),
        }
    }

    fn filter(&self) -> SnapshotFilter {
        let filter = SnapshotFilter {
            hosts: self
                .host
                .iter()
                .filter(|host| !host.is_empty())
                .cloned()
                .collect(),
            tags: self.tag.iter().map(|text| tag_list(text)).collect(),
            paths: self.path.clone(),
        };
        let here = std::env::current_dir().unwrap_or_default();
        filter.with_absolute_paths(&here.to_string_lossy())
    }
}

fn tag_list(text: &str) -> TagList {
    TagList(text.split(',').map(|tag| tag.trim().to_owned()).collect())
}

/// Removes snapshots.
pub fn run(context: &Context, arguments: &Arguments) -> Result<u8, Failure> {
    let policy = arguments.policy();
    let filter = arguments.filter();
    let group_by: GroupBy = arguments
        .group_by
        .parse()
        .map_err(|error| Failure::new(format!("{error}")))?;
    if arguments.ids.is_empty() {
        let checked = policy.check(arguments.unsafe_allow_remove_all, &filter);
        checked.map_err(|error| Failure::new(error.to_string()))?;
    } else if !policy.is_empty() {
        return Err(Failure::new(
            "snapshots are named and a policy is given: only one of them can decide",
        ));
    }
    let session = context.open()?;
    if context.global.no_lock && !arguments.dry_run {
        return Err(Failure::new(
            "--no-lock is only applicable in combination with --dry-run for forget command",
        ));
    }
    let lock = if arguments.dry_run {
        None
    } else {
        Some(session.lock_exclusive()?)
    };
    let all = stored_snapshots(session.repository(), session.cancel())?;
    let remove = if arguments.ids.is_empty() {
        by_policy(
            context,
            &session,
            arguments,
            &all,
            (&policy, &filter),
            group_by,
        )?
    } else {
        by_name(&session, &all, arguments, &filter)?
    };
    if arguments.dry_run {
        if context.is_talkative() && !remove.is_empty() {
            message::line("Would have removed the following snapshots:");
            let ids: Vec<String> = remove.iter().map(|id| id.short()).collect();
            message::line(format!("{{{}}}", ids.join(" ")));
        }
        if arguments.prune {
            return prune::preview(context, &session, &arguments.pruning, &remove);
        }
        return Ok(exit::OK);
    }
    let Some(lock) = lock else {
        return Ok(exit::OK);
    };
    if remove.is_empty() {
        return Ok(exit::OK);
    }
    let removal = Removal::new(session.repository(), session.deletes(), &lock)?;
    let code = remove_all(context, &session, &removal, &remove)?;
    if code == exit::OK && arguments.prune {
        if context.is_talkative() {
            message::line(format!(
                "{} snapshots have been removed, running prune",
                remove.len()
            ));
        }
        return prune::run_with(context, &session, &removal, &arguments.pruning);
    }
    Ok(code)
}

fn remove_all(
    context: &Context,
    session: &Session,
    removal: &Removal<'_>,
    remove: &[Id],
) -> Result<u8, Failure> {
    let progress = StageProgress::new(context);
    let outcome = forget(
        session.repository(),
        removal,
        remove,
        &progress,
        session.cancel(),
    );
    progress.clear();
    let outcome = outcome?;
    for left in &outcome.not_removed {
        let reason = left
            .error
            .as_ref()
            .map_or_else(|| "not tried".to_owned(), ToString::to_string);
        message::warning(&format!("{} could not be removed: {reason}", left.name));
    }
    if context.is_talkative() {
        message::line(format!("{} snapshots were removed", outcome.removed.len()));
    }
    if outcome.not_removed.is_empty() {
        return Ok(exit::OK);
    }
    // restic ends with 3 where some snapshots could not be removed.
    Ok(exit::INCOMPLETE)
}

/// Snapshots by their ids. One that cannot be read is found by its whole id, so that junk which
/// somebody planted can be removed.
fn by_name(
    session: &Session,
    all: &[StoredSnapshot],
    arguments: &Arguments,
    filter: &SnapshotFilter,
) -> Result<Vec<Id>, Failure> {
    let list: Vec<&StoredSnapshot> = all.iter().collect();
    let mut remove = Vec::new();
    for text in &arguments.ids {
        match session.resolve(&list, &text.as_str().into(), filter) {
            Ok(selected) if !remove.contains(&selected.snapshot.id) => {
                remove.push(selected.snapshot.id)
            }
            Ok(_) => {}
            Err(error) => match text.parse::<Id>() {
                Ok(id) if is_stored(session, id)? => {
                    message::warning(&format!(
                        "{id} cannot be read as a snapshot; it is removed by its name"
                    ));
                    remove.push(id);
                }
                _ => message::warning(&format!("ignoring {text:?}: {error}")),
            },
        }
    }
    Ok(remove)
}

fn is_stored(session: &Session, id: Id) -> Result<bool, Failure> {
    let name = ObjectName::new(ObjectKind::Snapshot, id);
    Ok(session.repository().store().exists(&name)?)
}

/// What the policy removes of all groups, oldest first; shows it.
fn by_policy(
    context: &Context,
    session: &Session,
    arguments: &Arguments,
    all: &[StoredSnapshot],
    (policy, filter): (&Policy, &SnapshotFilter),
    group_by: GroupBy,
) -> Result<Vec<Id>, Failure> {
    let now = session.repository().environment().clock.now();
    let list: Vec<&StoredSnapshot> = all
        .iter()
        .filter(|stored| filter.matches(&stored.snapshot))
        .collect();
    let guard = GuardContext {
        allow_future: arguments.allow_future,
        allow_burst: arguments.allow_burst,
        ..GuardContext::new(&session.admissions().of_snapshots())
    };
    let zone = Zone::system();
    if context.is_talkative() && !policy.is_empty() {
        message::line(format!("Applying Policy: {policy}"));
    }
    let groups = group_snapshots(&list, group_by);
    let results: Vec<(GroupKey, GuardedRetention<'_>)> = groups
        .into_iter()
        .map(|group| {
            let result = guard_forget(&group.snapshots, policy, &guard, now, &zone);
            (group.key, result)
        })
        .collect();
    let mut findings = Vec::new();
    for (key, result) in &results {
        for notice in &result.notices {
            message::warning(&notice.to_string());
        }
        findings.extend(&result.findings);
        result
            .check(policy, key)
            .map_err(|error| Failure::new(error.to_string()))?;
    }
    if arguments.dry_run {
        // Nothing is at stake: show the policy's result, and why it would not be carried out.
        for finding in findings.drain(..) {
            message::warning(&format!("without --dry-run this stops: {finding}"));
        }
    }
    if let Some(first) = findings.first() {
        for finding in &findings[1..] {
            message::warning(&finding.to_string());
        }
        return Err(
            Failure::with_code(exit::GUARDED, format!("{first}; nothing was removed"))
                .hint(first.hint()),
        );
    }
    if context.global.json {
        print_json(&results);
    } else if context.global.verbosity() > 0 {
        for (key, result) in &results {
            print_group(key, group_by, result, arguments.compact, now);
        }
    }
    let mut remove: Vec<&StoredSnapshot> = results
        .iter()
        .flat_map(|(_, result)| result.retention.remove.iter().copied())
        .collect();
    outlast_repo::sort_oldest_first(&mut remove);
    Ok(remove.into_iter().map(|stored| stored.id).collect())
}

fn item(stored: &StoredSnapshot) -> SnapshotItem<'_> {
    SnapshotItem::new(stored.id, &stored.snapshot)
}

fn print_json(results: &[(GroupKey, GuardedRetention<'_>)]) {
    let some = |list: Vec<_>| if list.is_empty() { None } else { Some(list) };
    let groups: Vec<Group<'_>> = results
        .iter()
        .map(|(key, result)| {
            let retention = &result.retention;
            let reasons: Vec<Reason<'_>> = retention
                .keep
                .iter()
                .map(|kept| Reason {
                    snapshot: item(kept.snapshot),
                    matches: &kept.matches,
                })
                .collect();
            Group {
                tags: &key.tags,
                host: &key.hostname,
                paths: &key.paths,
                keep: some(
                    retention
                        .keep
                        .iter()
                        .map(|kept| item(kept.snapshot))
                        .collect(),
                ),
                remove: some(retention.remove.iter().map(|stored| item(stored)).collect()),
                reasons: if reasons.is_empty() {
                    None
                } else {
                    Some(reasons)
                },
            }
        })
        .collect();
    json::print(&groups);
}

fn print_group(
    key: &GroupKey,
    group_by: GroupBy,
    result: &GuardedRetention<'_>,
    compact: bool,
    now: Time,
) {
    if group_by.is_grouping() {
        message::line(format!("snapshots for ({}):", clean(&key.to_string())));
        message::line("");
    }
    let retention = &result.retention;
    if !retention.keep.is_empty() {
        message::line(format!("keep {} snapshots:", retention.keep.len()));
        print_kept(&retention.keep, compact);
        message::line("");
    }
    if !retention.remove.is_empty() {
        message::line(format!("remove {} snapshots:", retention.remove.len()));
        super::snapshots::print_table(&retention.remove, compact, now);
        message::line("");
    }
}

fn print_kept(kept: &[Kept<'_>], compact: bool) {
    let heading: &[&str] = if compact {
        &["ID", "Time", "Host", "Tags", "Reasons"]
    } else {
        &["ID", "Time", "Host", "Tags", "Reasons", "Paths"]
    };
    let mut table = Table::new(heading);
    for kept in kept {
        let snapshot = &kept.snapshot.snapshot;
        let lines = |list: &[String]| {
            list.iter()
                .map(|text| clean(text))
                .collect::<Vec<_>>()
                .join("\n")
        };
        let mut row = vec![
            kept.snapshot.id.short(),
            units::time(snapshot.time),
            clean(&snapshot.hostname),
            lines(&snapshot.tags),
            lines(&kept.matches),
        ];
        if !compact {
            row.push(lines(&snapshot.paths));
        }
        table.push(row);
    }
    for line in table.lines() {
        message::line(line);
    }
    message::line(format!("{} snapshots", kept.len()));
}
