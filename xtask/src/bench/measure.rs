//! Running a program and seeing what it takes.

use std::fs;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::process;

/// How often the program's account is read while it runs.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// What a run took.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cost {
    /// From start to end, in seconds.
    pub wall_seconds: f64,
    /// Of all processors together, in seconds.
    pub cpu_seconds: f64,
    /// Most memory in use, in MiB.
    pub memory_mib: u64,
}

impl Cost {
    /// The lower of each figure: what disturbs a measurement only ever adds.
    pub fn least(self, other: Cost) -> Cost {
        Cost {
            wall_seconds: self.wall_seconds.min(other.wall_seconds),
            cpu_seconds: self.cpu_seconds.min(other.cpu_seconds),
            memory_mib: self.memory_mib.min(other.memory_mib),
        }
    }
}

/// Runs a command to its end. Its output goes nowhere; if it fails, the command is shown.
pub fn run(mut command: Command) -> Result<Cost, String> {
    let text = process::describe(&command);
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    let start = Instant::now();
    let mut child = command
        .spawn()
        .map_err(|error| format!("{text}: {error}"))?;
    let errors = child
        .stderr
        .take()
        .map(|stderr| thread::spawn(move || std::io::read_to_string(stderr).unwrap_or_default()));
    let mut cost = Cost::default();
    let status = loop {
        look(child.id(), &mut cost);
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) => thread::sleep(LOOK_EVERY),
            Err(error) => return Err(format!("{text}: {error}")),
        }
    };
    cost.wall_seconds = start.elapsed().as_secs_f64();
    let errors = errors.and_then(|reader| reader.join().ok());
    if status.success() {
        Ok(cost)
    } else {
        Err(format!("{text}: {status}\n{}", errors.unwrap_or_default()))
    }
}

/// Reads a running program's account from `/proc`. After its end nothing is there any more, and
/// what was read last stands.
fn look(process_id: u32, cost: &mut Cost) {
    let read = |name: &str| fs::read_to_string(format!("/proc/{process_id}/{name}"));
    if let Ok(status) = read("status")
        && let Some(kib) = high_water_kib(&status)
    {
        cost.memory_mib = cost.memory_mib.max(kib / 1024);
    }
    if let Ok(stat) = read("stat")
        && let Some(ticks) = ticks_used(&stat)
    {
        // Linux counts in hundredths for programs, whatever the kernel does inside.
        cost.cpu_seconds = cost.cpu_seconds.max(ticks as f64 / 100.0);
    }
}

fn high_water_kib(status: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_whitespace().next()?.parse().ok()
}

fn ticks_used(stat: &str) -> Option<u64> {
    // The name of the program may hold blanks; it ends at the last parenthesis.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_are_read() {
        let status = "Name:\tx\nVmPeak:\t  9 kB\nVmHWM:\t  2048 kB\n";
        assert_eq!(high_water_kib(status), Some(2048));
        let stat = "12 (a b) c) S 1 2 3 4 5 6 7 8 9 10 40 2 0 0 20";
        assert_eq!(ticks_used(stat), Some(42));
        assert_eq!(ticks_used("nothing"), None);
    }

    #[test]
    fn a_failing_command_is_an_error() {
        assert!(run(Command::new("false")).is_err());
        assert!(run(Command::new("true")).is_ok());
    }
}
