//! One seed: a world lives, is attacked, and is compared with what was predicted.

use std::collections::BTreeMap;

use outlast_custody::{
    Attack, EvidenceKind, Loss, Outcome, Proof, SnapshotCopy, Standing, Subject, Survey, Wanted,
    status,
};

use crate::attacker::Attacker;
use crate::bug::Bug;
use crate::client::Snapshot;
use crate::failure::Failure;
use crate::place::{Lock, Machine};
use crate::plan::{Kind, Plan};
use crate::random::Random;
use crate::verdicts;
use crate::world::{DAY, World};

/// Most subjects that an attacker holds, usually and now and then.
const TAKEN_MAX: u64 = 3;
const TAKEN_SELDOM_MAX: u64 = 9;
/// Days of an attack on which the client goes on as before.
const LIVED_DAYS: u64 = 4;

/// What was seen in a run, or in many.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// Worlds.
    pub worlds: u64,
    /// Verdicts that were compared with the truth.
    pub verdicts: u64,
    /// Those that said safe.
    pub safe: u64,
    /// Copies that counted when the attack began.
    pub copies: u64,
    /// Those that the attacker destroyed.
    pub destroyed: u64,
    /// Copies that were given up by the prediction and survived, by kind of custodian.
    pub gloomy: BTreeMap<&'static str, u64>,
    /// Custodians whose ciphertext was predicted to be read and was not.
    pub unread: u64,
}

impl Tally {
    /// Adds another.
    pub fn add(&mut self, other: &Self) {
        self.worlds += other.worlds;
        self.verdicts += other.verdicts;
        self.safe += other.safe;
        self.copies += other.copies;
        self.destroyed += other.destroyed;
        self.unread += other.unread;
        for (kind, count) in &other.gloomy {
            *self.gloomy.entry(kind).or_default() += count;
        }
    }

    fn judge(&mut self, world: &mut World) -> Result<(), Failure> {
        let said = verdicts::check(world)?;
        self.verdicts += said.verdicts;
        self.safe += said.safe;
        Ok(())
    }
}

/// The prediction, and what it is about.
struct Prediction {
    outcome: Outcome,
    data_sets: Vec<String>,
    /// Copies that counted: custodian, snapshot, end of the hold.
    copies: Vec<(usize, Snapshot, Option<u64>)>,
    ends: u64,
}

/// Runs the world of a seed.
///
/// # Errors
/// [`Failure`]: a promise was broken.
pub fn run(seed: u64, bug: Option<Bug>) -> Result<Tally, Failure> {
    let mut random = Random::new(seed);
    let plan = Plan::new(&mut random)?;
    let mut world = World::new(plan, bug, random)?;
    let mut tally = Tally {
        worlds: 1,
        ..Tally::default()
    };
    for _ in 0..world.plan.days {
        world.live_day()?;
        tally.judge(&mut world)?;
    }
    let (taken, prediction) = predict(&mut world);
    let mut attacker = Attacker::new(&world.plan, &taken);
    attacker.begin(&mut world);
    let days = world.plan.attack_days;
    attacker.act(&mut world, days == 0)?;
    tally.judge(&mut world)?;
    for day in 1..=days {
        if day <= LIVED_DAYS {
            world.live_day()?;
        } else {
            world.pass_day();
            world.renew()?;
        }
        attacker.act(&mut world, day == days)?;
        if day <= LIVED_DAYS || day == days {
            tally.judge(&mut world)?;
        }
    }
    compare(&world, &attacker, &prediction, &mut tally).map_err(|failure| match failure {
        Failure::Broken { rule, detail } => {
            let detail = format!("{detail}; taken for {days} days: {taken:?}");
            Failure::Broken { rule, detail }
        }
        other => other,
    })?;
    Ok(tally)
}

/// Chooses what the attacker gets, and predicts what follows.
fn predict(world: &mut World) -> (Vec<Subject>, Prediction) {
    let mut copies = Vec::new();
    let mut found = Vec::new();
    let wanted: Vec<Wanted> = world
        .client
        .snapshots()
        .iter()
        .map(|of| of.wanted)
        .collect();
    let statuses = status(world.policy(), &world.facts, &wanted, world.now);
    for (snapshot, status) in world.client.snapshots().iter().zip(statuses) {
        for (number, standing) in status.standings.iter().enumerate() {
            let Standing::Counts(counts) = standing else {
                continue;
            };
            let holds = match counts.proof {
                Proof::Receipt { .. } => true,
                Proof::Evidence { kind, .. } => kind == EvidenceKind::Retention,
            };
            let held_until = holds.then_some(counts.held_until);
            found.push(SnapshotCopy {
                custodian: world.name(number).to_owned(),
                data_set: snapshot.data_set.to_string(),
                moment: snapshot.moment,
                bytes: snapshot.bytes,
                held_until,
            });
            copies.push((number, snapshot.clone(), held_until));
        }
    }
    let names = (0..world.places.len())
        .map(|number| (world.name(number).to_owned(), world.kind_of(number)));
    let kinds: BTreeMap<_, _> = names.collect();
    let attack = Attack::lasting(world.now, world.plan.attack_days * DAY);
    let mut random = world.random.branch();
    let survey = Survey::new(
        world.policy(),
        &kinds,
        &found,
        &world.plan.discovered,
        attack,
    );
    let subjects = survey.subjects();
    let most = if random.chance(20) {
        TAKEN_SELDOM_MAX
    } else {
        TAKEN_MAX
    };
    let count = random.between(1, most);
    let taken: Vec<_> = (0..count)
        .map(|_| subjects[random.place(subjects.len())].clone())
        .collect();
    let prediction = Prediction {
        outcome: survey.outcome(&taken),
        data_sets: survey.data_sets().to_vec(),
        copies,
        ends: attack.ends,
    };
    (taken, prediction)
}

/// Compares what is left with what was predicted to be.
fn compare(
    world: &World,
    attacker: &Attacker,
    prediction: &Prediction,
    tally: &mut Tally,
) -> Result<(), Failure> {
    let outcome = &prediction.outcome;
    for (number, place) in world.places.iter().enumerate() {
        let Machine::Vault(machine) = &place.machine else {
            continue;
        };
        let time = machine.vault().time();
        if time > world.now {
            let detail = format!("{} says {time} at {}", world.name(number), world.now);
            return Err(Failure::broken("no clock moves a vault's time", detail));
        }
    }
    let mut newest: BTreeMap<String, u64> = BTreeMap::new();
    for (number, snapshot, held_until) in &prediction.copies {
        let should = match outcome.losses[*number] {
            Loss::Nothing => true,
            Loss::NotHeld => held_until.is_some_and(|until| until > prediction.ends),
            Loss::Everything => false,
        };
        let is_there = world.is_whole(*number, snapshot);
        tally.copies += 1;
        tally.destroyed += u64::from(!is_there);
        if should && !is_there {
            let detail = format!(
                "{} ({:?}) lost {}, held until {held_until:?}, attacked until {}",
                world.name(*number),
                world.plan.kinds[*number],
                snapshot.wanted.snapshot.short(),
                prediction.ends
            );
            return Err(Failure::broken(
                "no attacker destroys more than predicted",
                detail,
            ));
        }
        if is_there && !should {
            let kind = word(world.plan.kinds[*number]);
            *tally.gloomy.entry(kind).or_default() += 1;
        }
        if is_there {
            let moment = newest.entry(snapshot.data_set.to_string()).or_default();
            *moment = snapshot.moment.max(*moment);
        }
    }
    for (data_set, remains) in prediction.data_sets.iter().zip(&outcome.remains) {
        if newest.get(data_set).copied() < remains.newest {
            let detail = format!(
                "{data_set}: {:?}, predicted {:?}",
                newest.get(data_set),
                remains.newest
            );
            return Err(Failure::broken("as much as predicted comes back", detail));
        }
    }
    for number in &attacker.has_read {
        if !outcome.ciphertext.contains(number) {
            let detail = format!("the packs at {} were read", world.name(*number));
            return Err(Failure::broken(
                "no attacker reads more than predicted",
                detail,
            ));
        }
    }
    let unread = outcome
        .ciphertext
        .iter()
        .filter(|number| !attacker.has_read.contains(number));
    tally.unread += unread.count() as u64;
    Ok(())
}

fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::Vault => "vaults",
        Kind::Bucket(Lock::Compliance) => "buckets in compliance mode",
        Kind::Bucket(Lock::Governance) => "buckets in governance mode",
        Kind::Bucket(Lock::None) => "buckets without lock",
        Kind::Disk { .. } => "disks",
        Kind::Directory => "directories",
    }
}
