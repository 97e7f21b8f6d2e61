//! A policy in words, as restic puts it.

use std::fmt;

use super::{KeepCount, Policy};
use crate::snapshots::TagLists;

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = self.count_texts();
        let within = self.within_texts();
        let mut text = String::new();
        if !counts.is_empty() {
            text = format!("{} snapshots", counts.join(", "));
        }
        if !within.is_empty() {
            join(&mut text, ", ", &within.join(", "));
        }
        if !self.tags.is_empty() {
            let tags = format!("all snapshots with tags {}", TagLists(&self.tags));
            join(&mut text, " and ", &tags);
        }
        if !self.within.is_zero() {
            let within = format!("all snapshots within {} of the newest", self.within);
            join(&mut text, " and ", &within);
        }
        if text.is_empty() {
            f.write_str("remove")
        } else {
            write!(f, "keep {text}")
        }
    }
}

fn join(text: &mut String, separator: &str, more: &str) {
    if !text.is_empty() {
        text.push_str(separator);
    }
    text.push_str(more);
}

impl Policy {
    fn count_texts(&self) -> Vec<String> {
        [
            (self.last, "latest"),
            (self.hourly, "hourly"),
            (self.daily, "daily"),
            (self.weekly, "weekly"),
            (self.monthly, "monthly"),
            (self.yearly, "yearly"),
        ]
        .into_iter()
        .filter_map(|(count, word)| match count {
            KeepCount::None => None,
            KeepCount::Count(count) => Some(format!("{count} {word}")),
            KeepCount::Unlimited => Some(format!("all {word}")),
        })
        .collect()
    }

    fn within_texts(&self) -> Vec<String> {
        [
            (self.within_hourly, "hourly"),
            (self.within_daily, "daily"),
            (self.within_weekly, "weekly"),
            (self.within_monthly, "monthly"),
            (self.within_yearly, "yearly"),
        ]
        .into_iter()
        .filter(|(duration, _)| !duration.is_zero())
        .map(|(duration, word)| format!("{word} snapshots within {duration}"))
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_in_words() {
        let mut policy = Policy::default();
        assert_eq!(policy.to_string(), "remove");
        policy.within = "2d".parse().unwrap();
        assert_eq!(
            policy.to_string(),
            "keep all snapshots within 2d of the newest"
        );
        policy.last = KeepCount::Count(3);
        policy.yearly = KeepCount::Unlimited;
        policy.within_weekly = "1y2m".parse().unwrap();
        policy.tags = vec!["a, b".into(), "c".into()];
        assert_eq!(
            policy.to_string(),
            "keep 3 latest, all yearly snapshots, weekly snapshots within 1y2m and all snapshots \
             with tags [[a, b] [c]] and all snapshots within 2d of the newest"
        );
    }
}
