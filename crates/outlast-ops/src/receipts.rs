//! Receipts: asked for after each backup, verified before they are kept, verified again whenever
//! something is said on their strength.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use outlast_custody::{ObjectList, Receipt, VerifiedReceipt};
use outlast_log::{VerifiedCheckpoint, VerifierKey};
use outlast_object::Id;
use outlast_store::ConnectOptions;
use outlast_wire::{Sealed, WireError};

use crate::backup::BackupRun;
use crate::config::{ConfigurationError, Places, read_at_most, write_durably};
use crate::custodian::{Custodian, CustodianError, Custodians, memory_folder};

/// Longest file that is read as a receipt or checkpoint, in bytes.
const FILE_BYTES_MAX: u64 = 256 * 1024;
/// How receipts are called.
const EXTENSION: &str = "receipt";
/// The newest checkpoint of a custodian that was seen.
const CHECKPOINT: &str = "checkpoint";
/// How files begin that prove that a custodian dropped or rewrote something.
pub(crate) const FORKED: &str = "forked-";

/// What a custodian vouches for, as its verified receipt says.
#[derive(Debug, Clone)]
pub struct Held {
    /// The custodian's name here.
    pub custodian: String,
    /// What it proves.
    pub receipt: VerifiedReceipt,
    /// The file.
    pub path: PathBuf,
}

/// A receipt in the files of this user: proven, or not.
#[derive(Debug)]
pub struct KeptReceipt {
    /// The custodian's name here.
    pub custodian: String,
    /// The file.
    pub path: PathBuf,
    /// What it proves, or why it proves nothing.
    pub verified: Result<VerifiedReceipt, String>,
}

fn failed(path: &Path, source: io::Error) -> CustodianError {
    ConfigurationError::Io {
        path: path.to_owned(),
        source,
    }
    .into()
}

/// The snapshot that a backup made or confirmed, and the objects it needs. None after a dry run.
pub fn made(run: &BackupRun) -> Option<(Id, ObjectList)> {
    let id = match &run.outcome.snapshot {
        Some((id, _)) => *id,
        None => run.parent.as_ref()?.id,
    };
    let needed = run.outcome.needed.as_ref()?;
    // The config has an id of its own in lists, as everywhere.
    let list = ObjectList::new(needed.names().iter().copied());
    Some((id, list))
}

/// Has a custodian seal a snapshot with what it needs, verifies the receipt and keeps it.
///
/// The custodian's log must also continue what was seen of it before; what is seen now is
/// remembered.
///
/// # Errors
/// [`CustodianError`]: then nothing is to be counted as held.
pub fn seal_list(
    places: &Places,
    custodian: &Custodian,
    connect: &ConnectOptions,
    snapshot: Id,
    list: &ObjectList,
) -> Result<Held, CustodianError> {
    let client = custodian.client(connect)?;
    let sealed = client.seal(snapshot, list)?;
    let folder = memory_folder(places, &custodian.name);
    let remembered = remembered_checkpoint(places, &custodian.name, client.identity())?;
    let mut seen = vec![sealed.verified.proof().checkpoint().checkpoint()];
    seen.extend(remembered.as_ref().map(VerifiedCheckpoint::checkpoint));
    let newest = client.checkpoint(&seen).inspect_err(|error| {
        if let WireError::LogForked {
            evidence, new_size, ..
        } = error
        {
            // Both are signed by the custodian: together they prove what it did. The error is told in
            // any case.
            let path = folder.join(format!("{FORKED}{new_size}.checkpoint"));
            let _ = write_durably(&path, evidence, 0o600);
        }
    })?;
    let held = keep(&folder, custodian, sealed)?;
    let path = folder.join(CHECKPOINT);
    write_durably(&path, &newest.note().encode(), 0o600).map_err(|error| failed(&path, error))?;
    Ok(held)
}

/// The checkpoint that was seen last, if any.
pub(crate) fn remembered_checkpoint(
    places: &Places,
    custodian: &str,
    identity: &VerifierKey,
) -> Result<Option<VerifiedCheckpoint>, CustodianError> {
    let path = memory_folder(places, custodian).join(CHECKPOINT);
    let Some(bytes) = read_at_most(&path, FILE_BYTES_MAX).map_err(|error| failed(&path, error))?
    else {
        return Ok(None);
    };
    let verified = VerifiedCheckpoint::open(&bytes, identity, &[]).map_err(|error| {
        ConfigurationError::Invalid {
            path,
            reason: error.to_string(),
        }
    })?;
    Ok(Some(verified))
}

fn keep(folder: &Path, custodian: &Custodian, sealed: Sealed) -> Result<Held, CustodianError> {
    let short = sealed.verified.seal().snapshot.0.short();
    let path = folder.join(format!("{:010}-{short}.{EXTENSION}", sealed.index));
    let text = sealed.receipt.encode();
    write_durably(&path, text.as_bytes(), 0o600).map_err(|error| failed(&path, error))?;
    Ok(Held {
        custodian: custodian.name.clone(),
        receipt: sealed.verified,
        path,
    })
}

/// Reads a receipt and verifies it offline.
///
/// # Errors
/// Why it proves nothing, as a sentence.
pub fn verify_receipt(
    path: &Path,
    identity: &VerifierKey,
    witnesses: &[VerifierKey],
) -> Result<VerifiedReceipt, String> {
    let bytes = read_at_most(path, FILE_BYTES_MAX).map_err(|error| error.to_string())?;
    let bytes = bytes.ok_or_else(|| "there is no such file".to_owned())?;
    let text = String::from_utf8(bytes).map_err(|_| "it is no text".to_owned())?;
    let receipt = Receipt::parse(&text).map_err(|error| error.to_string())?;
    let verified = receipt.verify(identity, witnesses);
    verified.map_err(|error| error.to_string())
}

/// All receipts in the files of this user, each verified now, by custodian and age.
///
/// # Errors
/// [`CustodianError`] if files cannot be listed.
pub fn kept_receipts(places: &Places) -> Result<Vec<KeptReceipt>, CustodianError> {
    let mut all = Vec::new();
    for custodian in Custodians::of(places).list()? {
        all.extend(receipts_of(places, &custodian)?);
    }
    Ok(all)
}

fn receipts_of(places: &Places, custodian: &Custodian) -> Result<Vec<KeptReceipt>, CustodianError> {
    let folder = memory_folder(places, &custodian.name);
    // Those who cannot sign have none.
    let Some(invite) = custodian.invite() else {
        return Ok(Vec::new());
    };
    let entries = match fs::read_dir(&folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        result => result.map_err(|error| failed(&folder, error))?,
    };
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry.map_err(|error| failed(&folder, error))?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == EXTENSION)
        {
            paths.push(path);
        }
    }
    paths.sort();
    let verify = |path: PathBuf| KeptReceipt {
        custodian: custodian.name.clone(),
        verified: verify_receipt(&path, &invite.identity, &[]),
        path,
    };
    Ok(paths.into_iter().map(verify).collect())
}

/// The longest hold of a snapshot at a custodian that a kept receipt proves now.
///
/// # Errors
/// [`CustodianError`] if files cannot be listed.
pub fn held_by(
    places: &Places,
    custodian: &Custodian,
    snapshot: Id,
) -> Result<Option<Held>, CustodianError> {
    let of_it = receipts_of(places, custodian)?.into_iter();
    let proven = of_it.filter_map(|kept| {
        let receipt = kept.verified.ok()?;
        let is_it = receipt.seal().snapshot.0 == snapshot
            && custodian
                .invite()
                .is_some_and(|invite| receipt.seal().repository == invite.repository)
            && receipt.seal().list.is_some();
        is_it.then_some(Held {
            custodian: kept.custodian,
            receipt,
            path: kept.path,
        })
    });
    Ok(proven.max_by_key(|held| held.receipt.seal().until))
}
