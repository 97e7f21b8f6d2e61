//! Group commit: how events become entries of the log.

use std::collections::HashMap;

use outlast_custody::{Entry, Event, RepositoryName};
use outlast_object::{Id, ObjectKind, ObjectName};

use crate::VaultError;
use crate::vault::{FAILED, Vault};

/// Most entries in a batch.
const BATCH_ENTRIES_MAX: usize = 1024;

/// What waits for the log, and what became of it.
#[derive(Default)]
pub(crate) struct Queue {
    waiting: Vec<(u64, Vec<Event>)>,
    done: HashMap<u64, Result<Vec<u64>, String>>,
    next: u64,
    /// Somebody is writing a batch; whoever comes meanwhile waits for the next.
    busy: bool,
}

impl Vault {
    /// Puts events into the log; gives their positions once they are durable. Whoever comes first
    /// writes for all who wait, so that many uploads share one sync.
    ///
    /// # Errors
    /// [`VaultError::ReadOnly`] if the ledger failed, now or before; [`VaultError::Full`] if it would
    /// soon fail for want of room.
    pub(crate) fn commit(&self, events: Vec<Event>) -> Result<Vec<u64>, VaultError> {
        self.check_room_of_ledger()?;
        let mut queue = self.queue.lock();
        let ticket = queue.next;
        queue.next += 1;
        queue.waiting.push((ticket, events));
        loop {
            if let Some(outcome) = queue.done.remove(&ticket) {
                return outcome.map_err(VaultError::ReadOnly);
            }
            if queue.busy {
                self.turn.wait(&mut queue);
                continue;
            }
            queue.busy = true;
            let mut count = 0;
            let fits = |events: &[Event], count: &mut usize| {
                *count += events.len();
                *count <= BATCH_ENTRIES_MAX || *count == events.len()
            };
            let taken = queue
                .waiting
                .iter()
                .take_while(|(_, events)| fits(events, &mut count))
                .count();
            let batch: Vec<_> = queue.waiting.drain(..taken).collect();
            let outcomes = parking_lot::MutexGuard::unlocked(&mut queue, || self.write(batch));
            queue.busy = false;
            queue.done.extend(outcomes);
            self.turn.notify_all();
        }
    }

    /// Writes one batch. After a failure the vault is read-only.
    fn write(&self, batch: Vec<(u64, Vec<Event>)>) -> Vec<(u64, Result<Vec<u64>, String>)> {
        let tickets: Vec<u64> = batch.iter().map(|(ticket, _)| *ticket).collect();
        let mut failure = self.failure.lock();
        let outcome = match &*failure {
            Some(reason) => Err(reason.clone()),
            None => self.write_batch(batch).map_err(|error| match error {
                VaultError::ReadOnly(reason) => reason,
                other => other.to_string(),
            }),
        };
        match outcome {
            Ok(positions) => tickets
                .into_iter()
                .zip(positions)
                .map(|(ticket, positions)| (ticket, Ok(positions)))
                .collect(),
            Err(reason) => {
                if failure.is_none() {
                    // For the next start. If this cannot be written either, that start finds out by itself
                    // whether the ledger is whole.
                    let _ = self.disk.replace(FAILED, reason.as_bytes());
                    *failure = Some(reason.clone());
                }
                let refused = |ticket| (ticket, Err(reason.clone()));
                tickets.into_iter().map(refused).collect()
            }
        }
    }

    fn write_batch(&self, batch: Vec<(u64, Vec<Event>)>) -> Result<Vec<Vec<u64>>, VaultError> {
        let mut ledger = self.ledger.lock();
        let now = self.clock.now();
        // Time in the log never decreases, whatever the clocks do.
        let time = self.guarded.time(now).max(ledger.time());
        let mut heads: HashMap<RepositoryName, Id> = HashMap::new();
        let mut known: HashMap<(RepositoryName, ObjectName), u64> = HashMap::new();
        let mut entries: Vec<Entry> = Vec::new();
        let mut positions = Vec::new();
        for (_, events) in batch {
            let mut of_these = Vec::new();
            for mut event in events {
                let position = ledger.size() + entries.len() as u64;
                if let Event::Admit(admit) = &event {
                    let kind = admit.object_kind().unwrap_or(ObjectKind::Pack);
                    let name = ObjectName::new(kind, admit.id.0);
                    let key = (admit.repository.clone(), name);
                    let before = match known.get(&key) {
                        Some(position) => Some(*position),
                        None => self.object(&key.0, &name)?.map(|found| found.position),
                    };
                    if let Some(before) = before {
                        // Two uploads of the same object at the same time are one.
                        of_these.push(before);
                        continue;
                    }
                    known.insert(key, position);
                }
                self.link_to_chain(&mut event, &mut heads)?;
                let mut nonce = [0; 16];
                self.entropy.fill(&mut nonce).map_err(VaultError::Disk)?;
                let entry = Entry::new(time, now.clock, nonce, event);
                if let Some((repository, _)) = entry.chain() {
                    heads.insert(repository.clone(), Id::from_bytes(*entry.leaf().as_bytes()));
                }
                entries.push(entry);
                of_these.push(position);
            }
            positions.push(of_these);
        }
        if !entries.is_empty() {
            ledger.append(entries, &|entry, time| {
                self.state.write().apply(&entry.event);
                match entry.chain() {
                    Some((repository, _)) => self.state.read().hold_minimum(repository, time),
                    None => 0,
                }
            })?;
        }
        Ok(positions)
    }

    fn link_to_chain(
        &self,
        event: &mut Event,
        heads: &mut HashMap<RepositoryName, Id>,
    ) -> Result<(), VaultError> {
        let (repository, previous) = match event {
            Event::Admit(admit) => (&admit.repository, &mut admit.previous),
            Event::Seal(seal) => (&seal.repository, &mut seal.previous),
            Event::Hold(hold) => (&hold.repository, &mut hold.previous),
            _ => return Ok(()),
        };
        previous.0 = match heads.get(repository) {
            Some(head) => *head,
            None => self.index.chain(repository)?.head,
        };
        Ok(())
    }
}
