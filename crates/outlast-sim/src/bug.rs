//! Defects that are planted on request, to show that the simulation would find them.

use std::fmt;
use std::str::FromStr;

/// A planted defect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Bug {
    /// A bucket lets compliance retention be shortened.
    ShortenedHold,
    /// The renewer extends what the newest snapshot added, and forgets what it took over from older
    /// ones.
    ForgetfulRenewer,
    /// Every custodian counts as a party of its own.
    PartyCountedTwice,
    /// Evidence counts however old it is.
    StaleEvidence,
    /// An append token overwrites what is there.
    AppendOverwrites,
    /// A receipt counts whatever list it is over.
    AnotherList,
    /// A bucket is read by name, so that the newest version or a delete marker counts.
    ReadByName,
    /// Logs are not compared, so that one with two pasts is believed.
    ForkBelieved,
    /// A vault acknowledges before what it took is durable.
    EarlyReceipt,
    /// Receipts count though no witness has seen them.
    WitnessIgnored,
    /// The prediction takes every disk for one that is away.
    DiskThoughtAway,
}

impl Bug {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::ShortenedHold,
        Self::ForgetfulRenewer,
        Self::PartyCountedTwice,
        Self::StaleEvidence,
        Self::AppendOverwrites,
        Self::AnotherList,
        Self::ReadByName,
        Self::ForkBelieved,
        Self::EarlyReceipt,
        Self::WitnessIgnored,
        Self::DiskThoughtAway,
    ];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::ShortenedHold => "shortened-hold",
            Self::ForgetfulRenewer => "forgetful-renewer",
            Self::PartyCountedTwice => "party-counted-twice",
            Self::StaleEvidence => "stale-evidence",
            Self::AppendOverwrites => "append-overwrites",
            Self::AnotherList => "another-list",
            Self::ReadByName => "read-by-name",
            Self::ForkBelieved => "fork-believed",
            Self::EarlyReceipt => "early-receipt",
            Self::WitnessIgnored => "witness-ignored",
            Self::DiskThoughtAway => "disk-thought-away",
        }
    }
}

impl fmt::Display for Bug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// There is no such defect.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no planted bug is called {0:?}")]
pub struct NoBug(pub String);

impl FromStr for Bug {
    type Err = NoBug;

    fn from_str(text: &str) -> Result<Self, NoBug> {
        let found = Self::ALL.into_iter().find(|bug| bug.name() == text);
        found.ok_or_else(|| NoBug(text.to_owned()))
    }
}
