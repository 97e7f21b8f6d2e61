//! A world: custodians, a client that backs up every day, and what is known of both.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use outlast_custody::{
    CustodianKind, Evidence, EvidenceKind, Facts, IdText, Policy, Receipt, Renewal,
};
use outlast_log::{VerifierKey, cosign};
use outlast_object::{Id, hash};

use crate::bug::Bug;
use crate::client::{Client, Snapshot};
use crate::failure::Failure;
use crate::place::{Bucket, Lock, Machine, Place, VaultMachine};
use crate::plan::{Kind, Plan, witness};
use crate::random::Random;

/// Seconds in a day.
pub const DAY: u64 = 86_400;
/// When worlds begin, seconds since 1970.
const BEGINNING: u64 = 1_800_000_000;

/// A world.
pub struct World {
    /// What it is made of.
    pub plan: Plan,
    /// The planted bug, if any.
    pub bug: Option<Bug>,
    /// Chance.
    pub random: Random,
    /// Now, seconds since 1970.
    pub now: u64,
    /// Days since the beginning.
    pub day: u64,
    /// The custodians' places, in the order of the policy.
    pub places: Vec<Place>,
    /// The client.
    pub client: Client,
    /// What the client knows.
    pub facts: Facts,
    /// Receipts that the client got, by custodian.
    pub receipts: Vec<Vec<Receipt>>,
    /// Lists of all receipts that were shown for a snapshot.
    pub lists: BTreeMap<Id, BTreeSet<Id>>,
    /// When a snapshot was last really read at a custodian without a signature.
    pub readings: BTreeMap<(usize, Id), u64>,
    /// Snapshots that each custodian has shown to have.
    pub counted: Vec<BTreeSet<Id>>,
    /// Custodians in the hands of the attacker: what they say is theirs.
    pub lying: BTreeSet<usize>,
    /// Custodians whose logs have shown two pasts.
    pub forked: BTreeSet<usize>,
    /// Custodians that the attacker keeps the client from.
    pub blocked: BTreeSet<usize>,
    /// Whether the client does nothing any more.
    pub client_stopped: bool,
    /// Whether nobody renews any more.
    pub renewer_stopped: bool,
    time: Arc<AtomicU64>,
}

impl World {
    /// The world of a plan.
    ///
    /// # Errors
    /// [`Failure`].
    pub fn new(plan: Plan, bug: Option<Bug>, mut random: Random) -> Result<Self, Failure> {
        let time = Arc::new(AtomicU64::new(BEGINNING));
        let (mut places, mut facts) = (Vec::new(), Facts::new());
        for (custodian, kind) in plan.policy.custodians().iter().zip(&plan.kinds) {
            let machine = match kind {
                Kind::Vault => {
                    let hold = plan.period_days * DAY;
                    let vault = VaultMachine::new(custodian.name(), &time, hold, &mut random)?;
                    let repository = vault.repository().clone();
                    facts.pin(custodian.name(), vault.identity(), repository);
                    Machine::Vault(Box::new(vault))
                }
                Kind::Bucket(lock) => {
                    let shortens = bug == Some(Bug::ShortenedHold) && *lock == Lock::Compliance;
                    Machine::Bucket(Bucket::new(*lock, shortens))
                }
                Kind::Disk { .. } | Kind::Directory => Machine::Folder(BTreeMap::new()),
            };
            places.push(Place::new(machine, bug == Some(Bug::ReadByName)));
        }
        Ok(Self {
            bug,
            now: BEGINNING,
            day: 0,
            client: Client::new(plan.data_sets, random.branch()),
            facts,
            receipts: vec![Vec::new(); places.len()],
            lists: BTreeMap::new(),
            readings: BTreeMap::new(),
            counted: vec![BTreeSet::new(); places.len()],
            lying: BTreeSet::new(),
            forked: BTreeSet::new(),
            blocked: BTreeSet::new(),
            client_stopped: false,
            renewer_stopped: false,
            places,
            plan,
            random,
            time,
        })
    }

    /// The name of a custodian.
    pub fn name(&self, number: usize) -> &str {
        self.plan.policy.custodians()[number].name()
    }

    /// Lets a day pass at the places, and nothing else.
    pub fn pass_day(&mut self) {
        self.day += 1;
        self.now += DAY;
        self.time.store(self.now, Ordering::SeqCst);
        let now = self.now;
        for place in &mut self.places {
            if let Machine::Bucket(bucket) = &mut place.machine {
                bucket.tick(now);
            }
        }
    }

    /// A day on which the client backs up, with whatever goes wrong on a day.
    ///
    /// # Errors
    /// [`Failure`] if a promise is broken.
    pub fn live_day(&mut self) -> Result<(), Failure> {
        self.pass_day();
        if !self.client_stopped {
            for data_set in 0..self.plan.data_sets {
                self.client.back_up(data_set, self.now);
            }
        }
        for number in 0..self.places.len() {
            if self.bug == Some(Bug::EarlyReceipt)
                && let Machine::Vault(vault) = &mut self.places[number].machine
            {
                vault.begin_day();
            }
            let is_away = self.random.chance(10) || self.blocked.contains(&number);
            if !is_away && self.is_attached(number) && !self.client_stopped {
                if self.random.chance(6)
                    && let Machine::Vault(vault) = &self.places[number].machine
                {
                    vault.will_crash(self.random.below(40));
                }
                self.sync(number)?;
            }
            self.restart_if_down(number)?;
        }
        self.renew()?;
        self.collect_evidence();
        Ok(())
    }

    /// Whether a disk is attached today; everything else always is.
    pub fn is_attached(&self, number: usize) -> bool {
        match self.plan.kinds[number] {
            Kind::Disk { every_days } => self.day.is_multiple_of(every_days),
            _ => true,
        }
    }

    /// The kind of a custodian, as survivability wants to know it.
    pub fn kind_of(&self, number: usize) -> CustodianKind {
        match self.plan.kinds[number] {
            Kind::Vault => CustodianKind::Vault,
            Kind::Bucket(Lock::Compliance) => CustodianKind::BucketCompliance,
            Kind::Bucket(Lock::Governance) => CustodianKind::BucketGovernance,
            Kind::Bucket(Lock::None) => CustodianKind::BucketUnlocked,
            Kind::Directory => CustodianKind::Directory,
            Kind::Disk { every_days } => {
                let days = (every_days - self.day % every_days) % every_days;
                let attached_from = Some(self.now + days * DAY);
                let is_missed = self.bug == Some(Bug::DiskThoughtAway);
                CustodianKind::Disk {
                    attached_from: attached_from.filter(|_| !is_missed),
                }
            }
        }
    }

    /// Whether a place acknowledged everything that a snapshot needs.
    pub fn is_stored(&self, number: usize, snapshot: &Snapshot) -> bool {
        let stored = &self.places[number].stored;
        snapshot
            .list
            .objects()
            .iter()
            .all(|name| stored.contains_key(name))
    }

    /// Whether a snapshot can really be restored from a place, object by object.
    pub fn is_whole(&self, number: usize, snapshot: &Snapshot) -> bool {
        let mut names = snapshot.list.objects().iter();
        names.all(|name| self.places[number].has(name, self.client.bytes(name)))
    }

    /// Gives a place what it lacks, and gets receipts for what is complete.
    fn sync(&mut self, number: usize) -> Result<(), Failure> {
        let retain = self.now + self.plan.period_days * DAY;
        let missing: Vec<_> = self
            .client
            .snapshots()
            .iter()
            .filter(|of| !self.counted[number].contains(&of.wanted.snapshot))
            .cloned()
            .collect();
        for snapshot in missing {
            let objects = self.client.with_bytes(snapshot.list.objects());
            self.places[number].put(&objects, retain, self.now);
            if !self.is_stored(number, &snapshot) {
                continue;
            }
            let Machine::Vault(vault) = &self.places[number].machine else {
                self.counted[number].insert(snapshot.wanted.snapshot);
                continue;
            };
            match vault.seal(snapshot.wanted.snapshot, &snapshot.list) {
                Ok(mut receipt) => {
                    // The witness sees every state of a log that continues the one before. What is
                    // forged does not, so it is never asked for that.
                    receipt.proof.checkpoint =
                        cosign(&receipt.proof.checkpoint, &witness()?, self.now);
                    let identity = vault.identity();
                    self.show_receipt(number, &receipt, &identity)?;
                    self.counted[number].insert(snapshot.wanted.snapshot);
                    self.receipts[number].push(receipt);
                }
                Err(_) if vault.is_down() || self.lying.contains(&number) => {}
                Err(error) => {
                    let detail = format!("{} says: {error}", self.name(number));
                    return Err(Failure::broken(
                        "what a vault acknowledged is there",
                        detail,
                    ));
                }
            }
        }
        Ok(())
    }

    /// Shows the client a receipt that is signed by this identity and said to be of a custodian.
    ///
    /// # Errors
    /// [`Failure::Broken`] if a vault's own receipt does not verify.
    pub fn show_receipt(
        &mut self,
        number: usize,
        receipt: &Receipt,
        identity: &VerifierKey,
    ) -> Result<(), Failure> {
        let witnesses = self.plan.policy.witnesses().iter();
        let keys: Vec<_> = witnesses.map(|witness| witness.key.clone()).collect();
        let verified = receipt
            .verify(identity, &keys)
            .map_err(|error| Failure::broken("a vault's receipts are proven", error.to_string()))?;
        let seal = verified.seal();
        if let Some(list) = seal.list {
            let lists = self.lists.entry(seal.snapshot.0).or_default();
            lists.insert(list.0);
        }
        let name = self.plan.policy.custodians()[number].name().to_owned();
        self.facts.add_receipt(&name, &verified);
        Ok(())
    }

    /// Starts a vault again whose power failed, or that chance strikes.
    ///
    /// # Errors
    /// [`Failure::Broken`] if it does not open any more.
    pub fn restart_if_down(&mut self, number: usize) -> Result<(), Failure> {
        let strikes = self.random.chance(3);
        if let Machine::Vault(vault) = &mut self.places[number].machine
            && (strikes || vault.is_down())
        {
            vault.restart(&mut self.random)?;
        }
        Ok(())
    }

    /// The snapshots that are to be kept now where retention is renewed.
    fn live(&self) -> impl Iterator<Item = &Snapshot> {
        let keep = self.plan.keep_days * DAY;
        let snapshots = self.client.snapshots().iter();
        snapshots.filter(move |of| of.moment + keep > self.now)
    }

    /// Extends the retention of all that live snapshots need, at every bucket that is reached.
    ///
    /// # Errors
    /// [`Failure::Broken`] if something in use is not far enough ahead afterwards.
    pub fn renew(&mut self) -> Result<(), Failure> {
        let renewal = Renewal::of_period(self.plan.period_days * DAY);
        for number in 0..self.places.len() {
            let locks = matches!(
                self.plan.kinds[number],
                Kind::Bucket(Lock::Compliance | Lock::Governance)
            );
            if !locks || self.renewer_stopped || self.random.chance(15) {
                continue;
            }
            let mut needed = BTreeSet::new();
            let mut named = BTreeSet::new();
            for snapshot in self
                .live()
                .filter(|of| self.counted[number].contains(&of.wanted.snapshot))
            {
                needed.extend(snapshot.list.objects().iter().copied());
                let forgets = self.bug == Some(Bug::ForgetfulRenewer);
                let of = if forgets {
                    snapshot.added.as_slice()
                } else {
                    snapshot.list.objects()
                };
                named.extend(of.iter().copied());
            }
            let now = self.now;
            let place = &mut self.places[number];
            for name in named {
                let version = place.stored.get(&name).copied();
                let Some(until) = renewal.extend_to(place.retention(&name), now) else {
                    continue;
                };
                if let (Machine::Bucket(bucket), Some(version)) = (&mut place.machine, version) {
                    // What the attacker removed cannot be extended; evidence will miss it.
                    let _ = bucket.retain(name, version, until, false, now);
                }
            }
            if self.lying.contains(&number) {
                continue;
            }
            for name in needed {
                let until = self.places[number].retention(&name);
                if until.is_none_or(|until| until < renewal.needed_until(now)) {
                    let detail = format!(
                        "{name} at {} is retained until {until:?}",
                        self.name(number)
                    );
                    return Err(Failure::broken(
                        "retention of what is in use is far ahead",
                        detail,
                    ));
                }
            }
        }
        Ok(())
    }

    /// Reads back what places without a signature have.
    pub fn collect_evidence(&mut self) {
        for number in 0..self.places.len() {
            let kind = match self.plan.kinds[number] {
                Kind::Vault => continue,
                Kind::Bucket(_) => EvidenceKind::Retention,
                Kind::Disk { .. } => EvidenceKind::Disk,
                Kind::Directory => EvidenceKind::Directory,
            };
            if !self.is_attached(number) || self.client_stopped || self.random.chance(20) {
                continue;
            }
            let live: Vec<_> = self.live().cloned().collect();
            for snapshot in live {
                let id = snapshot.wanted.snapshot;
                if !self.counted[number].contains(&id) || !self.is_whole(number, &snapshot) {
                    continue;
                }
                let names = snapshot.list.objects().iter();
                let retained = names.map(|name| self.places[number].retention(name));
                // Nothing is retained if one object is not.
                let retained_until = retained.min().flatten();
                self.readings.insert((number, id), self.now);
                self.facts.add_evidence(Evidence {
                    kind,
                    custodian: self.plan.policy.custodians()[number].name().to_owned(),
                    snapshot: IdText(id),
                    list: IdText(snapshot.wanted.list),
                    objects: snapshot.list.objects().len() as u64,
                    bytes: snapshot.bytes,
                    observed: self.now,
                    retained_until,
                    versions: Some(IdText(hash(&self.now.to_le_bytes()))),
                    tamper_tested: Some(self.now),
                });
            }
        }
    }

    /// How old evidence of a custodian may be, by the true policy.
    pub fn evidence_seconds_max(&self, number: usize) -> Option<u64> {
        let kind = match self.plan.kinds[number] {
            Kind::Vault => return None,
            Kind::Bucket(_) => EvidenceKind::Retention,
            Kind::Disk { .. } => EvidenceKind::Disk,
            Kind::Directory => EvidenceKind::Directory,
        };
        self.policy().evidence_seconds_max(kind)
    }

    /// The true policy.
    pub fn policy(&self) -> &Policy {
        &self.plan.policy
    }
}
