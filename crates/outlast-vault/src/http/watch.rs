//! The clock of one connection: what it is doing, and until when it may.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use super::limits::Limits;

/// What a connection is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// The head of a request is on its way.
    Head,
    /// Nothing is.
    Idle,
    /// A handler is at work, or reads a body, which keeps its own time.
    Answering,
    /// The peer has to take a piece of an answer.
    Sending,
    /// We have closed our side and wait for the peer to have seen it.
    Closing,
    /// The same, where no request was understood before.
    ClosingUnheard,
}

#[derive(Debug, Clone, Copy)]
struct Phase {
    stage: Stage,
    deadline: Option<Instant>,
}

/// Shared by all that have to do with one connection.
#[derive(Debug, Clone)]
pub(super) struct Watch {
    phase: Arc<watch::Sender<Phase>>,
    unread: Arc<AtomicBool>,
    limits: Arc<Limits>,
}

impl Watch {
    /// For a connection that was just made, from which a head is now due.
    pub(super) fn new(limits: Arc<Limits>) -> Self {
        let phase = Phase {
            stage: Stage::Head,
            deadline: Some(Instant::now() + limits.head_time),
        };
        Self {
            phase: Arc::new(watch::Sender::new(phase)),
            unread: Arc::default(),
            limits,
        }
    }

    fn enter(&self, stage: Stage, deadline: Option<Instant>) {
        self.phase.send_replace(Phase { stage, deadline });
    }

    /// Bytes have arrived.
    pub(super) fn received(&self) {
        if self.phase.borrow().stage == Stage::Idle {
            self.enter(Stage::Head, Some(Instant::now() + self.limits.head_time));
        }
    }

    /// A request is complete up to its body.
    pub(super) fn answering(&self) {
        self.enter(Stage::Answering, None);
    }

    /// A piece of an answer is to be gone by then.
    pub(super) fn sending(&self, deadline: Instant) {
        self.enter(Stage::Sending, Some(deadline));
    }

    /// An answer is complete.
    pub(super) fn idle(&self) {
        self.enter(Stage::Idle, Some(Instant::now() + self.limits.idle_time));
    }

    /// Our side is closed.
    pub(super) fn closing(&self) {
        let stage = match self.phase.borrow().stage {
            Stage::Head => Stage::ClosingUnheard,
            _ => Stage::Closing,
        };
        self.enter(stage, Some(Instant::now() + self.limits.linger_time));
    }

    /// Says whether there is, or may be, a rest of a body that nobody will read.
    pub(super) fn set_unread(&self, unread: bool) {
        self.unread.store(unread, Ordering::Relaxed);
    }

    /// Whether the peer may still be sending what we will not read.
    pub(super) fn may_be_sending(&self) -> bool {
        self.unread.load(Ordering::Relaxed) || self.phase.borrow().stage == Stage::Head
    }

    /// Returns once a deadline has passed, with what the connection was doing.
    pub(super) async fn overdue(&self) -> Stage {
        let mut phases = self.phase.subscribe();
        loop {
            let Phase { stage, deadline } = *phases.borrow_and_update();
            let changed = match deadline {
                None => phases.changed().await,
                Some(deadline) => match timeout_at(deadline, phases.changed()).await {
                    Ok(changed) => changed,
                    Err(_) => return stage,
                },
            };
            // We hold the sender ourselves.
            if changed.is_err() {
                pending::<()>().await;
            }
        }
    }
}
