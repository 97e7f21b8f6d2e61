//! `tag`: changes the tags of snapshots.

use clap::Args;
use outlast_object::Id;
use outlast_ops::choose_snapshots;
use outlast_repo::{Removal, TagChange, change_tags};
use serde::Serialize;

use crate::args::FilterArguments;
use crate::context::Context;
use crate::exit::{self, Failure};
use crate::render::{json, message};

/// Arguments of `tag`.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    filter: FilterArguments,
    /// Tags to add
    #[arg(long, value_name = "TAG[,TAG,...]")]
    add: Vec<String>,
    /// Tags to remove
    #[arg(long, value_name = "TAG[,TAG,...]")]
    remove: Vec<String>,
    /// Tags that replace all others; an empty one leaves none
    #[arg(long, value_name = "TAG[,TAG,...]")]
    set: Vec<String>,
    /// Ids of snapshots, or `latest`; without any, all that the filter lets through
    #[arg(value_name = "SNAPSHOT")]
    ids: Vec<String>,
}

#[derive(Serialize)]
struct Changed {
    message_type: &'static str,
    old_snapshot_id: Id,
    new_snapshot_id: Id,
}

#[derive(Serialize)]
struct Summary {
    message_type: &'static str,
    changed_snapshots: usize,
}

fn tags(lists: &[String]) -> Vec<String> {
    let tags = lists.iter().flat_map(|list| list.split(','));
    tags.map(|tag| tag.trim().to_owned()).collect()
}

fn change(arguments: &Arguments) -> Result<TagChange, Failure> {
    let edits = !arguments.add.is_empty() || !arguments.remove.is_empty();
    match (arguments.set.is_empty(), edits) {
        (true, false) => Err(Failure::new("nothing to do!").hint("use --set, --add or --remove")),
        (false, true) => Err(Failure::new(
            "--set and --add/--remove cannot be given at the same time",
        )),
        (false, false) => Ok(TagChange::Set(tags(&arguments.set))),
        (true, true) => Ok(TagChange::Edit {
            add: tags(&arguments.add),
            remove: tags(&arguments.remove),
        }),
    }
}

/// Changes tags.
pub fn run(context: &Context, arguments: &Arguments) -> Result<u8, Failure> {
    let change = change(arguments)?;
    let session = context.open()?;
    if context.is_talkative() {
        message::line("create exclusive lock for repository");
    }
    let lock = session.lock_exclusive()?;
    let removal = Removal::new(session.repository(), session.deletes(), &lock)?;
    let chosen = choose_snapshots(&session, &arguments.ids, &arguments.filter.filter())?;
    let is_json = context.global.json;
    let mut changed = |old_snapshot_id: Id, new_snapshot_id: Id| {
        if is_json {
            json::print(&Changed {
                message_type: "changed",
                old_snapshot_id,
                new_snapshot_id,
            });
        }
    };
    let outcome = change_tags(
        session.repository(),
        &removal,
        &chosen,
        &change,
        &mut changed,
        session.cancel(),
    )?;
    let count = outcome.changed.len();
    if is_json {
        json::print(&Summary {
            message_type: "summary",
            changed_snapshots: count,
        });
    } else if context.is_talkative() {
        message::line(match count {
            0 => "no snapshots were modified".to_owned(),
            count => format!("modified {count} snapshots"),
        });
    }
    for (id, error) in &outcome.failed {
        message::warning(&format!("snapshot {}: {error}", id.short()));
    }
    if outcome.failed.is_empty() {
        return Ok(exit::OK);
    }
    Err(Failure::new(format!(
        "the tags of {} snapshots could not be changed",
        outcome.failed.len()
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(add: &[&str], remove: &[&str], set: &[&str]) -> Arguments {
        let owned = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
        Arguments {
            filter: FilterArguments {
                host: Vec::new(),
                tag: Vec::new(),
                path: Vec::new(),
            },
            add: owned(add),
            remove: owned(remove),
            set: owned(set),
            ids: Vec::new(),
        }
    }

    #[test]
    fn either_all_tags_are_set_or_some_are_changed() {
        assert!(change(&arguments(&[], &[], &[])).is_err());
        assert!(change(&arguments(&["a"], &[], &["b"])).is_err());
        assert!(change(&arguments(&[], &["a"], &["b"])).is_err());
        assert_eq!(
            change(&arguments(&["a, b", "c"], &["d"], &[])).unwrap(),
            TagChange::Edit {
                add: vec!["a".into(), "b".into(), "c".into()],
                remove: vec!["d".into()],
            }
        );
        assert_eq!(
            change(&arguments(&[], &[], &[""])).unwrap(),
            TagChange::Set(vec![String::new()])
        );
    }
}
