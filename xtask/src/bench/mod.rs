//! `cargo xtask bench`: outlast beside others.

/// The task.
pub fn run(_arguments: &[String]) -> Result<(), String> {
    Ok(())
}
