//! Four hundred days of daily backups with deduplication: what is in use never comes free, and what is
//! used no more does.

use std::collections::{BTreeMap, BTreeSet};

use outlast_object::{ObjectKind, ObjectName};

use crate::bug::Bug;
use crate::client::Snapshot;
use crate::failure::Failure;
use crate::place::Machine;
use crate::plan::peaceful;
use crate::random::Random;
use crate::world::{DAY, World};

/// How long holds and retention are, days.
const PERIOD_DAYS: u64 = 30;
/// How long snapshots are kept in the bucket, days.
const KEEP_DAYS: u64 = 45;
/// The vault, and the bucket.
const VAULT: usize = 0;
const BUCKET: usize = 1;

/// What was seen at the end.
#[derive(Debug, Clone, Copy, Default)]
pub struct Released {
    /// Objects at the vault that no hold covers any more.
    pub at_vault: usize,
    /// Objects at the bucket whose retention has ended.
    pub at_bucket: usize,
    /// Objects that there are.
    pub objects: usize,
    /// The longest time that a pack was in use, days.
    pub used_days_max: u64,
}

/// Lives through so many days.
///
/// # Errors
/// [`Failure::Broken`] if something in use came free, or something was removed.
pub fn live(seed: u64, days: u64, bug: Option<Bug>) -> Result<Released, Failure> {
    let mut random = Random::new(seed);
    let plan = peaceful(PERIOD_DAYS, KEEP_DAYS)?;
    let mut world = World::new(plan, bug, random.branch())?;
    let mut holds = Holds::default();
    let mut first_used: BTreeMap<ObjectName, u64> = BTreeMap::new();
    let mut released = Released::default();
    for day in 0..days {
        world.live_day()?;
        holds.read(&world)?;
        let in_use = check_in_use(&world, &holds)?;
        // Config and keys are in use forever, which would show nothing.
        for name in in_use
            .into_iter()
            .filter(|name| name.kind() == ObjectKind::Pack)
        {
            let used = day - *first_used.entry(name).or_insert(day);
            released.used_days_max = released.used_days_max.max(used);
        }
    }
    let (now, vault_time) = (world.now, holds.time);
    for name in world.places[VAULT].stored.keys() {
        released.objects += 1;
        released.at_vault += usize::from(holds.until(name) <= vault_time);
        check_there(&world, VAULT, name)?;
    }
    for name in world.places[BUCKET].stored.keys() {
        let until = world.places[BUCKET].retention(name);
        released.at_bucket += usize::from(until.is_none_or(|until| until <= now));
        check_there(&world, BUCKET, name)?;
    }
    Ok(released)
}

/// Until when each object is held, as the vault's own log and lists say.
#[derive(Debug, Default)]
struct Holds {
    seals: BTreeMap<ObjectName, u64>,
    minimum: BTreeMap<ObjectName, u64>,
    last: Option<u64>,
    time: u64,
}

impl Holds {
    /// Reads what is new.
    fn read(&mut self, world: &World) -> Result<(), Failure> {
        let Machine::Vault(machine) = &world.places[VAULT].machine else {
            return Ok(());
        };
        let (vault, repository) = (machine.vault(), machine.repository());
        let mut new = Vec::new();
        let read = vault.seals_after(repository, self.last, &mut |index, seal| {
            new.push((index, seal));
            true
        });
        read.map_err(Failure::simulation)?;
        for (index, seal) in new {
            self.last = Some(index);
            let until = vault
                .held_until(repository, index)
                .map_err(Failure::simulation)?;
            let list = vault.sealed_list(&seal).map_err(Failure::simulation)?;
            for name in list.iter().flat_map(|list| list.objects()) {
                let held = self.seals.entry(*name).or_default();
                *held = until.unwrap_or(0).max(*held);
            }
        }
        for name in world.places[VAULT].stored.keys() {
            if !self.minimum.contains_key(name) {
                let admission = vault
                    .object(repository, name)
                    .map_err(Failure::simulation)?;
                let until = admission.map_or(0, |admission| admission.until_min);
                self.minimum.insert(*name, until);
            }
        }
        self.time = vault.time();
        Ok(())
    }

    fn until(&self, name: &ObjectName) -> u64 {
        let of = |map: &BTreeMap<ObjectName, u64>| map.get(name).copied().unwrap_or(0);
        of(&self.seals).max(of(&self.minimum))
    }
}

/// Whatever a snapshot that is to be kept needs, wherever it was taken, is held there.
fn check_in_use(world: &World, holds: &Holds) -> Result<BTreeSet<ObjectName>, Failure> {
    let rule = "retention of what is in use never lapses";
    let mut in_use = BTreeSet::new();
    for number in [VAULT, BUCKET] {
        let kept_days = if number == VAULT {
            PERIOD_DAYS - 1
        } else {
            KEEP_DAYS
        };
        let is_kept = |of: &&Snapshot| of.moment + kept_days * DAY > world.now;
        let counted = &world.counted[number];
        let snapshots = world.client.snapshots().iter().filter(is_kept);
        for snapshot in snapshots.filter(|of| counted.contains(&of.wanted.snapshot)) {
            for name in snapshot.list.objects() {
                let (until, now) = match number {
                    VAULT => (holds.until(name), holds.time),
                    _ => (world.places[number].retention(name).unwrap_or(0), world.now),
                };
                if until <= now {
                    let place = world.name(number);
                    let detail = format!("{name} at {place}: until {until}, now {now}");
                    return Err(Failure::broken(rule, detail));
                }
                in_use.insert(*name);
            }
        }
    }
    Ok(in_use)
}

fn check_there(world: &World, number: usize, name: &ObjectName) -> Result<(), Failure> {
    if world.places[number].has(name, world.client.bytes(name)) {
        return Ok(());
    }
    let detail = format!("{name} at {}", world.name(number));
    Err(Failure::broken("nothing is removed", detail))
}
