//! `cargo xtask docs`: the documents say what the program does.

/// The task.
pub fn run() -> Result<(), String> {
    Ok(())
}
