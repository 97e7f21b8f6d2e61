//! An attacker who holds some parties, networks, machines and credentials, and does his worst.
//!
//! What he can do follows from the world itself: he tries, and machines let him or do not. It shares
//! no code with the prediction that he is held against.

use std::collections::BTreeSet;

use outlast_custody::{Entry, Event, IdText, ObjectList, Power, Receipt, Seal, Subject};
use outlast_log::{Checkpoint, OfflineProof, SigningKey, prove_inclusion, tree_root};
use outlast_object::{Id, ObjectKind, ObjectName};

use crate::bug::Bug;
use crate::client::Snapshot;
use crate::failure::Failure;
use crate::place::{Bucket, Machine};
use crate::plan::{CLIENT_HOST, Kind, Plan};
use crate::random::Random;
use crate::world::{DAY, World};

/// Objects that are tried out of each place on a day, where trying is all there is.
const TRIED_OBJECTS: usize = 6;
/// How far he sets clocks ahead, in days.
const CLOCK_DAYS: u64 = 4000;
/// Entries of the logs that he forges, at most.
const FORGED_ENTRIES_MAX: u64 = 4096;

/// What the attacker holds.
#[derive(Debug, Clone, Default)]
pub struct Attacker {
    /// Machines.
    hosts: BTreeSet<String>,
    /// Custodians that are his altogether.
    rooted: BTreeSet<usize>,
    /// What he has stolen, by custodian.
    powers: BTreeSet<(usize, Power)>,
    /// Whether he can talk to the time servers of somebody.
    has_network: bool,
    /// Custodians whose packs he has read.
    pub has_read: BTreeSet<usize>,
}

impl Attacker {
    /// What follows from holding these subjects.
    pub fn new(plan: &Plan, taken: &[Subject]) -> Self {
        let text = plan.policy.text();
        let mut attacker = Self::default();
        let mut names: BTreeSet<&str> = BTreeSet::new();
        for subject in taken {
            match subject {
                // A party of several names is several that have something in common.
                Subject::Party(party) => {
                    let of: BTreeSet<&str> = party.split(" and ").collect();
                    for (number, custodian) in text.custodians.values().enumerate() {
                        if of.contains(custodian.party.as_str()) {
                            attacker.rooted.insert(number);
                        }
                    }
                    for (name, host) in &text.hosts {
                        if host
                            .party
                            .as_deref()
                            .is_some_and(|party| of.contains(party))
                        {
                            attacker.hosts.insert(name.clone());
                        }
                    }
                }
                Subject::Network(network) => {
                    attacker.has_network = true;
                    for (number, custodian) in text.custodians.values().enumerate() {
                        if custodian.network.as_ref() == Some(network) {
                            attacker.rooted.insert(number);
                        }
                    }
                    for (name, host) in &text.hosts {
                        if host.network.as_ref() == Some(network) {
                            attacker.hosts.insert(name.clone());
                        }
                    }
                }
                Subject::Host(host) => {
                    attacker.hosts.insert(host.clone());
                }
                Subject::Credential(name) => {
                    names.insert(name);
                }
            }
        }
        attacker.steal(plan, &names);
        attacker
    }

    fn steal(&mut self, plan: &Plan, names: &BTreeSet<&str>) {
        let text = plan.policy.text();
        let declared = text.credentials.iter();
        let declared = declared.map(|(name, of)| (name, of.power, &of.custodian, &of.hosts));
        let discovered = plan.discovered.iter();
        let discovered = discovered.map(|of| (&of.name, of.power, &of.custodian, &of.hosts));
        for (name, power, custodian, hosts) in declared.chain(discovered) {
            let is_stolen =
                names.contains(name.as_str()) || hosts.iter().any(|host| self.hosts.contains(host));
            let number = text
                .custodians
                .keys()
                .position(|of| Some(of) == custodian.as_ref());
            if let (true, Some(number)) = (is_stolen, number) {
                self.powers.insert((number, power));
            }
        }
        for number in 0..plan.kinds.len() {
            let is_vault = plan.kinds[number] == Kind::Vault;
            if self.has(number, Power::Root) || is_vault && self.has(number, Power::Full) {
                self.rooted.insert(number);
            }
        }
    }

    fn has(&self, number: usize, power: Power) -> bool {
        self.powers.contains(&(number, power))
    }

    /// Begins: whatever he holds may lie from now on, and he may stop what runs on his machines.
    pub fn begin(&self, world: &mut World) {
        world.lying.extend(&self.rooted);
        for number in &self.rooted {
            // To sign for what was never taken is more than to remove it.
            if world.random.chance(50) {
                world.blocked.insert(*number);
            }
        }
        for (number, power) in &self.powers {
            let harmless = matches!(power, Power::Read | Power::Renew);
            // What a vault has is out of reach of its tokens, so it is still held to its word; and a
            // bucket in compliance mode is to hers as long as nobody may do more than add.
            let adds = *power == Power::Append
                && matches!(world.plan.kinds[*number], Kind::Vault | Kind::Bucket(_));
            let is_open = world.plan.kinds[*number] == Kind::Bucket(crate::place::Lock::None);
            if !harmless && (!adds || is_open) {
                world.lying.insert(*number);
            }
            if *power == Power::Append && world.random.chance(50) {
                world.blocked.insert(*number);
            }
        }
        if self.hosts.contains(CLIENT_HOST) && world.random.chance(50) {
            world.client_stopped = true;
        }
        if self.hosts.contains(&world.plan.renewer_host) && world.random.chance(70) {
            world.renewer_stopped = true;
        }
        if self.has_network {
            for place in &world.places {
                if let Machine::Vault(vault) = &place.machine {
                    vault.set_clock_ahead(CLOCK_DAYS * DAY);
                }
            }
        }
    }

    /// Does what can be done on this day; on the last one he spares nothing.
    ///
    /// # Errors
    /// [`Failure`].
    pub fn act(&mut self, world: &mut World, is_last: bool) -> Result<(), Failure> {
        for number in 0..world.places.len() {
            if self.rooted.contains(&number) {
                self.has_read.insert(number);
                if matches!(world.places[number].machine, Machine::Vault(_)) {
                    forge(world, number)?;
                }
                if is_last || world.random.chance(30) {
                    world.places[number].machine = Machine::Gone;
                }
                continue;
            }
            match world.plan.kinds[number] {
                Kind::Vault => {
                    self.use_tokens(world, number)?;
                    world.restart_if_down(number)?;
                }
                Kind::Bucket(_) => self.use_bucket(world, number),
                Kind::Disk { .. } | Kind::Directory => self.use_folder(world, number),
            }
        }
        Ok(())
    }

    fn use_tokens(&mut self, world: &mut World, number: usize) -> Result<(), Failure> {
        let mut names: Vec<ObjectName> = world.places[number].stored.keys().copied().collect();
        let pack = names
            .iter()
            .find(|name| name.kind() == ObjectKind::Pack)
            .copied();
        let mut random = world.random.branch();
        let Machine::Vault(vault) = &world.places[number].machine else {
            return Ok(());
        };
        let reads = |append| pack.is_some_and(|pack| vault.read(&pack, append).is_some());
        if self.has(number, Power::Read) && reads(false)
            || self.has(number, Power::Append) && reads(true)
        {
            self.has_read.insert(number);
        }
        if !self.has(number, Power::Append) {
            return Ok(());
        }
        while names.len() > TRIED_OBJECTS {
            names.swap_remove(random.place(names.len()));
        }
        let overwrites = world.bug == Some(Bug::AppendOverwrites);
        vault.abuse_append(&names, &mut random, overwrites);
        seal_short(world, number)
    }

    fn use_bucket(&mut self, world: &mut World, number: usize) {
        let has = |power| self.has(number, power);
        let (append, full, renew) = (has(Power::Append), has(Power::Full), has(Power::Renew));
        let now = world.now;
        let stored: Vec<_> = world.places[number]
            .stored
            .iter()
            .map(|(n, v)| (*n, *v))
            .collect();
        let mut random = world.random.branch();
        let Machine::Bucket(bucket) = &mut world.places[number].machine else {
            return;
        };
        if full || has(Power::Read) {
            self.has_read.insert(number);
        }
        for (name, version) in stored {
            if renew && random.chance(5) {
                // Shortening is refused; extending costs money and destroys nothing.
                let _ = bucket.retain(name, version, now + DAY, false, now);
                let _ = bucket.retain(name, version, now + 9 * DAY, false, now);
            }
            if append {
                bucket.put(name, Some(b"planted"), Some(now + DAY), now);
            }
        }
        if full {
            ravage(bucket, now);
        }
    }

    fn use_folder(&mut self, world: &mut World, number: usize) {
        let is_disk = matches!(world.plan.kinds[number], Kind::Disk { .. });
        let writes = self.has(number, Power::Append) || self.has(number, Power::Full);
        if is_disk && !world.is_attached(number) {
            return;
        }
        if writes || self.has(number, Power::Read) {
            self.has_read.insert(number);
        }
        if let (true, Machine::Folder(folder)) = (writes, &mut world.places[number].machine) {
            folder.clear();
        }
    }
}

/// Everything that all rights on a bucket allow.
fn ravage(bucket: &mut Bucket, now: u64) {
    bucket.set_lifecycle(0);
    for (name, version) in bucket.versions() {
        let _ = bucket.retain(name, version, now + 1, true, now);
        let _ = bucket.retain(name, version, now, true, now);
        let _ = bucket.delete_version(name, version, true, now);
        bucket.delete(name, now);
    }
    bucket.tick(now);
}

/// Has a vault seal a snapshot that it lacks objects of: he puts the snapshot alone, with a list that
/// names nothing else, and shows the client the receipt.
fn seal_short(world: &mut World, number: usize) -> Result<(), Failure> {
    let counted = &world.counted[number];
    let mut newest = world.client.snapshots().iter().rev();
    let Some(snapshot) = newest.find(|of| !counted.contains(&of.wanted.snapshot)) else {
        return Ok(());
    };
    let id = snapshot.wanted.snapshot;
    let name = ObjectName::new(ObjectKind::Snapshot, id);
    let list = ObjectList::new([name, ObjectName::CONFIG]);
    let Machine::Vault(vault) = &world.places[number].machine else {
        return Ok(());
    };
    vault.put(&[(name, world.client.bytes(&name))]);
    if let Ok(receipt) = vault.seal(id, &list) {
        let identity = vault.identity();
        world.show_receipt(number, &receipt, &identity)?;
        // And as if it were another custodian's, if the client does not look at the identity.
        let other = (number + 1) % world.places.len();
        world.show_receipt(other, &receipt, &identity)?;
    }
    Ok(())
}

/// Signs with a vault's key whatever the client might believe: receipts for what is not there, and a
/// second past of the same log.
fn forge(world: &mut World, number: usize) -> Result<(), Failure> {
    let Machine::Vault(vault) = &world.places[number].machine else {
        return Ok(());
    };
    let (key, identity) = (vault.signing_key()?, vault.identity());
    let repository = vault.repository().clone();
    let snapshots = world.client.snapshots();
    let lacks = |of: &&Snapshot| !world.counted[number].contains(&of.wanted.snapshot);
    let missing = snapshots.iter().rev().find(lacks);
    let Some(snapshot) = missing.or(snapshots.last()) else {
        return Ok(());
    };
    let seal = Seal {
        repository,
        snapshot: IdText(snapshot.wanted.snapshot),
        list: Some(IdText(snapshot.wanted.list)),
        objects: snapshot.list.objects().len() as u64,
        bytes: snapshot.bytes,
        until: world.now + 100 * DAY,
        verified: world.now,
        token: None,
        previous: IdText(Id::default()),
    };
    let now = world.now;
    let mut random = world.random.branch();
    // The client has a receipt of a log of this size: a second one cannot be true as well.
    let known = world.receipts[number].last().and_then(|receipt| {
        let verified = receipt.verify(&identity, &[]).ok()?;
        Some(verified.proof().checkpoint().checkpoint().size)
    });
    let size = match known.filter(|size| *size <= FORGED_ENTRIES_MAX && random.chance(50)) {
        Some(size) => size,
        None => random.between(1, 20) + FORGED_ENTRIES_MAX,
    };
    let is_fork = known == Some(size);
    let receipt = forged_receipt(seal, size, now, &key, &mut random)?;
    let other = (number + 1) % world.places.len();
    if is_fork {
        world.forked.insert(number);
        if world.bug == Some(Bug::ForkBelieved) {
            return Ok(());
        }
    }
    world.show_receipt(number, &receipt, &identity)?;
    world.show_receipt(other, &receipt, &identity)
}

/// A receipt over a log of so many made-up entries, the last of which is the seal.
fn forged_receipt(
    seal: Seal,
    size: u64,
    now: u64,
    key: &SigningKey,
    random: &mut Random,
) -> Result<Receipt, Failure> {
    let mut nonce = [0; 16];
    nonce[..8].copy_from_slice(&random.number().to_le_bytes());
    let entry = Entry::new(now, now, nonce, Event::Seal(seal));
    let leaf = entry.leaf();
    let leaves: Vec<_> = (0..size).map(|_| leaf).collect();
    let subtree = |level: u8, index: u64| -> Result<_, Failure> {
        let from = usize::try_from(index << level).map_err(Failure::simulation)?;
        let all = leaves.get(from..from + (1 << level)).unwrap_or_default();
        Ok(tree_root(all.iter().copied()))
    };
    let checkpoint = Checkpoint {
        origin: key.verifier().name().to_owned(),
        size,
        root: tree_root(leaves.iter().copied()),
    };
    Ok(Receipt {
        entry: entry.encode(),
        proof: OfflineProof {
            extra: None,
            index: size - 1,
            hashes: prove_inclusion(size - 1, size, subtree)?,
            checkpoint: checkpoint.sign(key).map_err(Failure::simulation)?,
        },
    })
}
