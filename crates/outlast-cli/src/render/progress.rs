//! A progress bar on terminals, occasional lines elsewhere, nothing when asked for quiet.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Redraws a second on terminals, where RESTIC_PROGRESS_FPS says nothing else.
const FRAMES_PER_SECOND: u8 = 10;

/// Progress in bytes.
#[derive(Debug, Clone)]
pub struct Progress(ProgressBar);

impl Progress {
    /// A bar of bytes, or nothing if `visible` is false or nobody looks.
    pub fn bytes(visible: bool) -> Self {
        Self::with_template(
            visible,
            "{elapsed_precise} [{bar:30}] {percent:>3}%  {bytes} / {total_bytes}  {bytes_per_sec}  left {eta}  {msg}",
        )
    }

    /// A bar of things.
    pub fn items(visible: bool) -> Self {
        Self::with_template(
            visible,
            "{elapsed_precise} [{bar:30}] {percent:>3}%  {pos} / {len} {msg}",
        )
    }

    fn with_template(visible: bool, template: &str) -> Self {
        let shown = visible && std::io::stderr().is_terminal();
        let frames = std::env::var("RESTIC_PROGRESS_FPS")
            .ok()
            .and_then(|text| text.parse::<f64>().ok());
        let frames = frames.map_or(FRAMES_PER_SECOND, |frames| frames.clamp(1.0, 60.0) as u8);
        let target = if shown {
            ProgressDrawTarget::stderr_with_hz(frames)
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(Some(0), target);
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("=> "));
        }
        if shown {
            bar.enable_steady_tick(Duration::from_millis(500));
        }
        Self(bar)
    }

    /// There is so much to do in all.
    pub fn set_total(&self, total: u64) {
        self.0.set_length(total);
    }

    /// Begins again, with so much to do.
    pub fn restart(&self, total: u64) {
        self.0.reset();
        self.0.set_length(total);
    }

    /// So much more is done.
    pub fn add(&self, amount: u64) {
        self.0.inc(amount);
    }

    /// So much is done in all.
    pub fn set_done(&self, amount: u64) {
        self.0.set_position(amount);
    }

    /// What is being done.
    pub fn set_message(&self, text: String) {
        self.0.set_message(text);
    }

    /// Runs `print` without the bar in the way.
    pub fn suspend(&self, print: impl FnOnce()) {
        self.0.suspend(print);
    }

    /// Takes the bar away.
    pub fn clear(&self) {
        self.0.finish_and_clear();
    }
}
