//! The results as tables of Markdown.

use std::fmt::Write;

use super::result::{Ratios, SetResult};
use crate::bench::commands::{PHASES, Phase};
use crate::bench::measure::Cost;

/// No step goes through so many MB/s: it had nothing to do.
const NOT_DONE: f64 = 50_000.0;

/// What we want to be at most: our wall time over restic's, and over that of the best peer.
fn aims(set: &str, phase: Phase) -> (f64, f64) {
    match (phase, set) {
        (Phase::Initial, "source tree") => (0.35, 0.5),
        (Phase::Initial, "hosting mix") => (0.4, 0.8),
        (Phase::Initial, "VM image") => (0.45, 0.65),
        (Phase::Initial, _) => (0.3, 0.55),
        (Phase::Unchanged, _) => (0.12, 0.5),
        (Phase::Changed, _) => (0.25, 0.6),
        (Phase::Restore, "source tree") => (0.5, 0.6),
        (Phase::Restore, _) => (0.6, 0.6),
        (Phase::Check, _) => (0.5, 0.65),
        (Phase::Prune, _) => (0.5, 0.7),
    }
}

/// Everything: first the ratios, then what they are made of.
pub fn document(results: &[SetResult], notes: &[String]) -> String {
    let mut text = String::new();
    for note in notes {
        let _ = writeln!(text, "{note}\n");
    }
    text.push_str("### Ratios\n\n");
    text.push_str(&ratios(results));
    for result in results {
        text.push_str(&one_set(result));
    }
    text
}

/// Our wall time over that of others, phase by phase; in brackets what is aimed at.
pub fn ratios(results: &[SetResult]) -> String {
    let mut text = String::from(
        "| data | phase | to restic (aim) | to the best peer (aim) | to `cp -a` | to the limit | memory to restic |\n\
         |---|---|---|---|---|---|---|\n",
    );
    for result in results {
        for phase in PHASES.iter().filter(|phase| result.has(**phase)) {
            let _ = writeln!(text, "{}", ratio_row(result, *phase, result.ratios(*phase)));
        }
        if let Some(ratio) = result.size_to_restic() {
            let name = result.name;
            let _ = writeln!(
                text,
                "| {name} | repository size | {ratio:.3} (1.02) | | | | |"
            );
        }
    }
    text
}

fn ratio_row(result: &SetResult, phase: Phase, ratios: Ratios) -> String {
    let (aim_restic, aim_best) = aims(result.name, phase);
    let two = |ratio: Option<f64>| ratio.map_or("–".to_string(), |ratio| format!("{ratio:.2}"));
    let judged = |ratio: f64, aim: f64| {
        let mark = if ratio <= aim { "" } else { " **over**" };
        format!("{ratio:.2} ({aim}){mark}")
    };
    let to_restic = ratios
        .to_restic
        .map_or("–".to_string(), |ratio| judged(ratio, aim_restic));
    let to_best = ratios.to_best.map_or("–".to_string(), |(ratio, peer)| {
        format!(
            "{}, {}",
            judged(ratio, aim_best),
            result.programs[peer].name
        )
    });
    format!(
        "| {} | {} | {to_restic} | {to_best} | {} | {} | {} |",
        result.name,
        phase.name(),
        two(ratios.to_copy),
        two(ratios.to_limit),
        two(ratios.memory_to_restic)
    )
}

fn one_set(result: &SetResult) -> String {
    let amounts = result.amounts;
    let mut text = format!(
        "\n### {}: {:.0} files, {:.0} MB\n\n| phase |",
        result.name,
        amounts.files,
        amounts.bytes / 1e6
    );
    for program in &result.programs {
        let _ = write!(text, " {} |", program.name);
    }
    text.push_str(" limit |\n|---|");
    text.push_str(&"---|".repeat(result.programs.len() + 1));
    text.push('\n');
    for phase in PHASES.iter().filter(|phase| result.has(**phase)) {
        let _ = write!(text, "| {} |", phase.name());
        for number in 0..result.programs.len() {
            let _ = write!(text, " {} |", cell(result.cost(*phase, number)));
        }
        let _ = writeln!(text, " {:.2} |", result.limit(*phase));
    }
    text.push_str("| repository MB |");
    for number in 0..result.programs.len() {
        let kept = result
            .kept_bytes
            .get(&number)
            .map(|bytes| *bytes as f64 / 1e6);
        let _ = write!(
            text,
            " {} |",
            kept.map_or("–".to_string(), |mb| format!("{mb:.1}"))
        );
    }
    text.push_str(" |\n");
    text.push_str(&rates(result));
    for failure in &result.failures {
        let _ = writeln!(text, "\n**FAILED:** {failure}");
    }
    text
}

/// The rates behind the limit.
fn rates(result: &SetResult) -> String {
    let (steps, system) = (result.steps, result.system);
    let rate = |bytes: f64, seconds: f64| bytes / 1e6 / seconds.max(1e-9);
    // Files that are too small to be cut are not searched, and what is not compressed not decompressed.
    let done = |bytes, seconds| match rate(bytes, seconds) {
        rate if rate < NOT_DONE => format!("{rate:.0}"),
        _ => "(not needed)".to_string(),
    };
    format!(
        "\nOne core here, on this data, in MB/s: boundaries {}, SHA-256 {:.0}, zstd {:.0} and back {}, \
         AES-256-CTR {:.0}, Poly1305 {:.0}, copy {:.0}; microseconds a file: look {:.0}, read {:.0}, \
         create {:.0}; disk with one fsync {:.0} MB/s. Rounds differed by {:.0} % of their median.\n",
        done(steps.bytes, steps.chunk),
        rate(steps.bytes, steps.hash),
        rate(steps.unique, steps.compress),
        done(steps.unique, steps.decompress),
        rate(steps.stored, steps.cipher),
        rate(steps.stored, steps.mac),
        rate(steps.bytes, steps.copy),
        system.look * 1e6,
        system.read * 1e6,
        system.create * 1e6,
        rate(1.0, system.disk),
        result.spread().unwrap_or_default() * 100.0
    )
}

fn cell(cost: Option<Cost>) -> String {
    let Some(cost) = cost else {
        return "–".to_string();
    };
    format!(
        "{:.2} ({:.2}; {})",
        cost.wall_seconds, cost.cpu_seconds, cost.memory_mib
    )
}

#[cfg(test)]
mod tests {
    use super::super::result::example;
    use super::*;

    #[test]
    fn a_table_has_every_program_and_says_what_is_missing() {
        let mut result = example();
        result.failures.push("borg: no such thing".to_string());
        let text = document(&[result], &["MISSING: kopia".to_string()]);
        for part in [
            "MISSING: kopia",
            "| some <set> | unchanged | 0.25 (0.12) **over** | 0.50 (0.5), borg | 2.00 | 4.00 | 0.50 |",
            "| phase | outlast | restic | borg | cp -a | limit |",
            "| unchanged | 2.00 (1.50; 100) | 8.00 (1.50; 200) |",
            "| some <set> | repository size | 0.990 (1.02) |",
            "**FAILED:** borg: no such thing",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
        assert!(!text.contains("| prune |"));
    }
}
