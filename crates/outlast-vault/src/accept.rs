//! Taking an object: the one sequence by which bytes become something that the vault keeps.

use std::io::{self, Read, Write};

use outlast_custody::{Admit, Event, IdText, RepositoryName, Scope};
use outlast_object::{HashingReader, Id, ObjectKind, ObjectName, ShapeError, check_shape};

use crate::VaultError;
use crate::disk::Linked;
use crate::room::Reservation;
use crate::vault::{Caller, Vault};

/// Bodies are read in blocks of this size.
const BLOCK_BYTES: usize = 128 * 1024;
/// Kinds whose content is looked at before it is kept are this small.
const LOOKED_AT_BYTES_MAX: u64 = 8 * 1024;
/// Bytes of the length at the end of a pack.
const TRAILER_BYTES: usize = 4;

/// The largest object of a kind that a vault takes, in bytes. Tighter than what a reader bears,
/// since nothing that was taken can be removed.
pub const fn accepted_bytes_max(kind: ObjectKind) -> u64 {
    match kind {
        ObjectKind::Config | ObjectKind::Lock => 4 * 1024,
        ObjectKind::Key => LOOKED_AT_BYTES_MAX,
        ObjectKind::Snapshot => 16 * 1024 * 1024,
        ObjectKind::Index => 64 * 1024 * 1024,
        ObjectKind::Pack => 160 * 1024 * 1024,
    }
}

/// What became of an upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accepted {
    /// Kept now, as entry number so and so.
    New(u64),
    /// The same bytes were kept already.
    Known(u64),
    /// A key that becomes an object when its config comes.
    Provisional,
}

/// The path of an object below the vault's directory: that of a plain restic repository.
pub fn object_path(repository: &RepositoryName, name: &ObjectName) -> String {
    let base = format!("repositories/{repository}");
    match name.kind() {
        ObjectKind::Config => format!("{base}/config"),
        ObjectKind::Pack => {
            let id = name.id().to_hex();
            format!("{base}/data/{}/{id}", &id[..2])
        }
        kind => format!("{base}/{}/{}", kind.folder(), name.id()),
    }
}

pub(crate) fn folder_of(path: &str) -> &str {
    path.rsplit_once('/').map_or(path, |(folder, _)| folder)
}

impl Vault {
    /// Takes an object from `body`, of `length` bytes where the client said how many. On return it is durable and in the log.
    ///
    /// Read from top to bottom; each step says what a crash right after it leaves behind.
    ///
    /// # Errors
    /// [`VaultError`]: nothing of the object is kept then, or (after a failure of the disk) it may
    /// be kept unacknowledged; putting it again settles that.
    pub fn accept(
        &self,
        caller: &Caller,
        name: &ObjectName,
        length: Option<u64>,
        body: &mut dyn Read,
    ) -> Result<Accepted, VaultError> {
        let kind = name.kind();
        self.check_put(caller, kind)?;
        let max = accepted_bytes_max(kind);
        check_size(kind, length.unwrap_or(1))?;
        match kind {
            ObjectKind::Key => return self.accept_provisionally(caller, name, length, body),
            ObjectKind::Config => return self.accept_config(caller, length, body),
            _ => {}
        }
        if let Some(position) = self.find_same(caller, name, length, body)? {
            return Ok(Accepted::Known(position));
        }

        // Room is set aside before the first byte is read, and given back on every way out.
        // Where nobody said how much will come, room for the most that is taken is needed.
        let reservation = self.reserve(caller, length.unwrap_or(max))?;
        let event = self.keep(caller, name, length, body)?;
        self.admit(caller, name, vec![event], reservation)
    }

    /// Puts what is kept into the log; only when the log says so as well is it acknowledged.
    fn admit(
        &self,
        caller: &Caller,
        name: &ObjectName,
        events: Vec<Event>,
        reservation: Reservation<'_>,
    ) -> Result<Accepted, VaultError> {
        let size = |event: &Event| match event {
            Event::Admit(admit) => admit.size,
            _ => 0,
        };
        let kept = events.iter().map(size).sum();
        let positions = self.commit(events)?;
        reservation.spend(kept);
        self.protect(caller.repository(), name);
        Ok(Accepted::New(positions.last().copied().unwrap_or_default()))
    }

    /// Sets the immutable flag where that was asked for: not even root changes or removes the file
    /// by mistake then. Without the right to set the flag nothing is lost.
    pub(crate) fn protect(&self, repository: &RepositoryName, name: &ObjectName) {
        if self.sets_immutable {
            let _ = self.disk.make_immutable(&object_path(repository, name));
        }
    }

    /// Takes the config, and with it the key that came before, which becomes an object now.
    fn accept_config(
        &self,
        caller: &Caller,
        length: Option<u64>,
        body: &mut dyn Read,
    ) -> Result<Accepted, VaultError> {
        let (name, mut bytes) = (ObjectName::CONFIG, Vec::new());
        copy_checked(&name, length, body, &mut bytes)?;
        let length = Some(bytes.len() as u64);
        // One at a time, since no two configs have different names.
        let _turn = self.configuring.lock();
        if let Some(position) = self.find_same(caller, &name, length, &mut bytes.as_slice())? {
            return Ok(Accepted::Known(position));
        }
        let (key_name, key) =
            self.provisional_key(caller.repository())
                .ok_or(VaultError::Forbidden(
                    "a config comes after its key: run init again",
                ))?;
        let reservation = self.reserve(caller, (bytes.len() + key.len()) as u64)?;
        if self.object(caller.repository(), &name)?.is_none() {
            let path = object_path(caller.repository(), &name);
            if self.disk.size(&path).map_err(VaultError::Disk)?.is_some() {
                // A crash left it between name and log, so nobody was told of it; and who repeats an
                // init comes with another.
                self.disk.replace(&path, &bytes).map_err(VaultError::Disk)?;
            }
        }
        let key_length = Some(key.len() as u64);
        let events = vec![
            self.keep(caller, &key_name, key_length, &mut key.as_slice())?,
            self.keep(caller, &name, length, &mut bytes.as_slice())?,
        ];
        self.admit(caller, &name, events, reservation)
    }

    /// Makes the bytes a durable file under the object's name, if they are what it says.
    fn keep(
        &self,
        caller: &Caller,
        name: &ObjectName,
        length: Option<u64>,
        body: &mut dyn Read,
    ) -> Result<Event, VaultError> {
        let event = self.place(caller, name, length, body)?;
        let path = object_path(caller.repository(), name);
        self.disk
            .sync_directory(folder_of(&path))
            .map_err(VaultError::Disk)?;
        Ok(event)
    }

    /// Makes the bytes a file under the object's name, if they are what it says. The bytes are durable
    /// on return; the name only after its folder was synced.
    pub(crate) fn place(
        &self,
        caller: &Caller,
        name: &ObjectName,
        length: Option<u64>,
        body: &mut dyn Read,
    ) -> Result<Event, VaultError> {
        let repository = caller.repository();
        // A crash leaves an unnamed file, which the file system frees by itself.
        let mut file = self.disk.create_unnamed().map_err(VaultError::Disk)?;
        let (hash, size) = copy_checked(name, length, body, &mut *file)?;

        // The bytes are durable before anything leads to them. After a failed sync the file is
        // given up, never synced again.
        file.sync().map_err(VaultError::Disk)?;

        // The name appears in one step and only if it is free. A crash leaves a whole object that
        // the log does not know: putting it again admits it.
        let path = object_path(repository, name);
        self.disk
            .make_directories(folder_of(&path))
            .map_err(VaultError::Disk)?;
        if file.link(&path).map_err(VaultError::Disk)? == Linked::Existed {
            self.check_same(name, &path, &hash, size)?;
        }
        Ok(Event::Admit(Admit {
            repository: repository.clone(),
            token: caller.token(),
            kind: name.kind().folder().to_owned(),
            id: IdText(hash),
            size,
            previous: IdText(Id::from_bytes([0; Id::LEN])),
        }))
    }

    /// The position of the object if it is kept already: then the body must have the same bytes.
    pub(crate) fn find_same(
        &self,
        caller: &Caller,
        name: &ObjectName,
        length: Option<u64>,
        body: &mut dyn Read,
    ) -> Result<Option<u64>, VaultError> {
        let Some(known) = self.object(caller.repository(), name)? else {
            return Ok(None);
        };
        let path = object_path(caller.repository(), name);
        if self.disk.size(&path).map_err(VaultError::Disk)? != Some(known.size) {
            // What was lost on the disk is put back by whoever has it.
            return Ok(None);
        }
        let fits = length.is_none_or(|length| length == known.size);
        if !fits || drain_and_hash(body, known.size.saturating_add(1))? != known.hash {
            return Err(VaultError::OtherBytes(*name));
        }
        // Whoever sends it may be about to remove his own: only what is whole counts as kept.
        self.check_same(name, &path, &known.hash, known.size)?;
        Ok(Some(known.position))
    }

    /// restic's `init` sends a key before there is a config. Until the config comes the key is no
    /// object: an `init` that broke off can be repeated, and leaves no key behind.
    fn accept_provisionally(
        &self,
        caller: &Caller,
        name: &ObjectName,
        length: Option<u64>,
        body: &mut dyn Read,
    ) -> Result<Accepted, VaultError> {
        let mut bytes = Vec::new();
        copy_checked(name, length, body, &mut bytes)?;
        self.set_provisional_key(caller.repository(), *name, bytes);
        Ok(Accepted::Provisional)
    }

    pub(crate) fn check_put(&self, caller: &Caller, kind: ObjectKind) -> Result<(), VaultError> {
        let has_config = self
            .object(caller.repository(), &ObjectName::CONFIG)?
            .is_some();
        match kind {
            ObjectKind::Config | ObjectKind::Key => {
                caller.require(Scope::Enrol, "only an enrol token puts config and keys")?;
                if has_config && kind == ObjectKind::Key {
                    return Err(VaultError::Forbidden("the repository has its keys already"));
                }
                Ok(())
            }
            ObjectKind::Lock => Err(VaultError::Forbidden("locks are not objects")),
            _ => caller.require(Scope::Append, "only an append token puts backups"),
        }
    }

    /// Another upload, or one before a crash, gave the name already: fine if to the same bytes. Since
    /// `hash` is what the name or the log says, others are damage; nothing is written over them.
    fn check_same(
        &self,
        name: &ObjectName,
        path: &str,
        hash: &Id,
        length: u64,
    ) -> Result<(), VaultError> {
        let mut reader = self.disk.open(path).map_err(VaultError::Disk)?;
        let found = drain_and_hash(&mut *reader, length)?;
        let longer = reader.read(&mut [0]).map_err(VaultError::Disk)? > 0;
        if found == *hash && !longer {
            Ok(())
        } else {
            Err(VaultError::Damaged(*name))
        }
    }
}

fn broken_off() -> VaultError {
    VaultError::Upload(io::ErrorKind::UnexpectedEof.into())
}

pub(crate) fn check_size(kind: ObjectKind, bytes: u64) -> Result<(), VaultError> {
    let (min, max) = (1, accepted_bytes_max(kind));
    if (min..=max).contains(&bytes) {
        return Ok(());
    }
    Err(ShapeError::Size {
        kind,
        bytes,
        min,
        max,
    }
    .into())
}

/// Reads `length` bytes, or as many as there are, and hashes them.
fn drain_and_hash(body: &mut dyn Read, length: u64) -> Result<Id, VaultError> {
    let mut reader = HashingReader::new(body.take(length));
    io::copy(&mut reader, &mut io::sink()).map_err(VaultError::Upload)?;
    Ok(reader.finish().0)
}

/// Copies the body into the file while hashing, and checks hash, length and shape. Gives the hash
/// and how many bytes there were.
fn copy_checked(
    name: &ObjectName,
    length: Option<u64>,
    body: &mut dyn Read,
    file: &mut dyn Write,
) -> Result<(Id, u64), VaultError> {
    let kind = name.kind();
    // One byte more than is taken shows that there was too much.
    let most = length.unwrap_or(accepted_bytes_max(kind) + 1);
    let mut reader = HashingReader::new(body.take(most));
    let mut block = vec![0; BLOCK_BYTES];
    let mut small = Vec::new();
    let mut trailer = Vec::new();
    loop {
        let count = match reader.read(&mut block) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(VaultError::Upload(error)),
        };
        let bytes = &block[..count];
        file.write_all(bytes).map_err(VaultError::Disk)?;
        if reader.bytes_read() <= LOOKED_AT_BYTES_MAX {
            small.extend_from_slice(bytes);
        }
        trailer.extend_from_slice(&bytes[count.saturating_sub(TRAILER_BYTES)..]);
        trailer.drain(..trailer.len().saturating_sub(TRAILER_BYTES));
    }
    let (found, bytes) = reader.finish();
    if length.is_some_and(|length| length != bytes) {
        return Err(broken_off());
    }
    check_size(kind, bytes)?;
    if kind != ObjectKind::Config && found != name.id() {
        return Err(ShapeError::Hash { name: *name, found }.into());
    }
    if bytes <= LOOKED_AT_BYTES_MAX {
        check_shape(name, &small)?;
    } else if kind == ObjectKind::Pack {
        outlast_object::check_pack_trailer(&trailer, bytes)?;
    }
    Ok((found, bytes))
}
