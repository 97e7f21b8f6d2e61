//! Running a program and seeing what it takes.

use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use wait4::Wait4;

use crate::process;

/// What a run took.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Cost {
    /// From start to end, in seconds.
    pub wall_seconds: f64,
    /// Of all processors together, for the program and the system on its behalf, in seconds.
    pub cpu_seconds: f64,
    /// Most memory in use by one process, in MiB.
    pub memory_mib: u64,
}

/// Runs a command to its end. Its output goes nowhere; if it fails, the command is shown.
///
/// The system's own account of the process and of the children it waited for is taken at its end, so
/// that nothing is missed however short the run is.
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
    let used = child.wait4().map_err(|error| format!("{text}: {error}"))?;
    let wall_seconds = start.elapsed().as_secs_f64();
    let errors = errors.and_then(|reader| reader.join().ok());
    if !used.status.success() {
        let errors = errors.unwrap_or_default();
        return Err(format!("{text}: {}\n{errors}", used.status));
    }
    Ok(Cost {
        wall_seconds,
        cpu_seconds: seconds(used.rusage.utime) + seconds(used.rusage.stime),
        memory_mib: used.rusage.maxrss >> 20,
    })
}

fn seconds(time: Duration) -> f64 {
    time.as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_command_is_an_error() {
        assert!(run(Command::new("false")).is_err());
        assert!(run(Command::new("true")).is_ok());
    }

    #[test]
    fn what_children_take_counts() {
        let mut command = Command::new("sh");
        // The inner shell does the work; the outer one waits for it.
        command.args([
            "-c",
            "sh -c 'i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done'; true",
        ]);
        let cost = run(command).expect("the loop ends");
        assert!(cost.cpu_seconds > 0.01, "{cost:?}");
        assert!(
            cost.wall_seconds > 0.01 && cost.memory_mib < 1024,
            "{cost:?}"
        );
    }
}
