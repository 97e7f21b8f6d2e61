//! How far the copy of a custodian is while it is completed.

use std::sync::Mutex;

use outlast_ops::SyncStep;

use super::progress::Progress;
use crate::context::Context;

/// Shows one place after the other.
pub struct Completing {
    is_visible: bool,
    /// The place that is completed now, and its bar.
    current: Mutex<Option<(String, Progress)>>,
}

impl Completing {
    /// Nothing is shown yet.
    pub fn new(context: &Context) -> Self {
        Self {
            is_visible: context.is_talkative(),
            current: Mutex::new(None),
        }
    }

    /// Shows how far a place is.
    pub fn show(&self, step: &SyncStep<'_>) {
        let Ok(mut current) = self.current.lock() else {
            return;
        };
        if current.as_ref().is_some_and(|(name, _)| name != step.place)
            && let Some((_, before)) = current.take()
        {
            before.clear();
        }
        let (_, bar) = current.get_or_insert_with(|| {
            let bar = Progress::bytes(self.is_visible);
            (step.place.to_owned(), bar)
        });
        bar.set_total(step.bytes_total);
        bar.set_done(step.bytes);
        bar.set_message(message(step));
    }

    /// Takes what is shown away.
    pub fn clear(&self) {
        if let Ok(mut current) = self.current.lock()
            && let Some((_, bar)) = current.take()
        {
            bar.clear();
        }
    }
}

fn message(step: &SyncStep<'_>) -> String {
    let (objects, total) = (step.objects, step.objects_total);
    format!("{objects} / {total} objects to {}", step.place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_says_how_many_objects_have_reached_whom() {
        let step = SyncStep {
            place: "v2",
            objects: 3,
            objects_total: 40,
            bytes: 5,
            bytes_total: 9,
        };
        assert_eq!(message(&step), "3 / 40 objects to v2");
    }
}
