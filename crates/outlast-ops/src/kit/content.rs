//! What is on a kit, and the bytes of its sections.
//!
//! Every section is a version, the kit's id, a body and four bytes of hash over all of it and the
//! section's own kind; the key's body names the repository. Reading is bounded and accepts exactly
//! what writing makes. Pure.

use outlast_custody::{RepositoryName, TokenId};
use outlast_log::VerifierKey;
use outlast_object::hash;
use zeroize::Zeroizing;

use super::lines::Section;
use super::split::{COMMITMENT_BYTES, SHARES_MAX, Share};

/// Version of the sections.
const VERSION: u8 = 1;
const CHECK_BYTES: usize = 4;
/// Longest text of a field, in bytes.
const FIELD_BYTES_MAX: usize = 1024;
/// Set in a field's length where its bytes stand for twice as many hexadecimal digits.
const HEX: u16 = 0x8000;
/// Most addresses of a vault.
const ADDRESSES_MAX: usize = 4;

/// What makes a kit different from all others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KitId(pub [u8; 5]);

impl std::fmt::Display for KitId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&hex::encode_upper(self.0))
    }
}

/// The beginning of a repository's id.
pub type RepositoryId = [u8; 16];

/// The password of the repository, or a share of it.
#[derive(Clone, PartialEq, Eq)]
pub enum KitKey {
    /// All of it.
    Whole(Zeroizing<Vec<u8>>),
    /// A share.
    Share(Share),
}

/// One place that keeps a copy.
#[derive(Clone, PartialEq, Eq)]
pub struct KitCopy {
    /// What it is called.
    pub name: String,
    /// Where it is, and what it takes to read there.
    pub place: CopyPlace,
}

/// Where a copy is.
#[derive(Clone, PartialEq, Eq)]
pub enum CopyPlace {
    /// The vault of a custodian.
    Vault {
        /// Host and port, one to four.
        addresses: Vec<String>,
        /// SHA-256 of the SubjectPublicKeyInfo of its certificate.
        pin: Option<[u8; 32]>,
        /// Who signs its log.
        identity: VerifierKey,
        /// The repository there.
        repository: RepositoryName,
        /// A token to restore with, and its secret. None where the operator has to be asked for it.
        token: Option<(TokenId, Zeroizing<String>)>,
    },
    /// A bucket of an object store that speaks S3.
    Bucket {
        /// The address of the service.
        endpoint: String,
        /// Its region.
        region: String,
        /// The bucket.
        bucket: String,
        /// What the repository's objects' names begin with.
        prefix: String,
        /// An access key that may read, and its secret.
        access: Option<(String, Zeroizing<String>)>,
    },
    /// A folder: of a disk that can be taken away, or of a machine.
    Folder {
        /// Its path, where it was when the kit was made.
        path: String,
        /// The part of the path below where its file system is mounted.
        below: String,
        /// The number in the file that makes it a custodian; empty where there is none.
        mark: String,
    },
    /// A folder behind SFTP.
    Sftp {
        /// Its address, as restic and outlast take it.
        address: String,
    },
    /// A restic REST server.
    Rest {
        /// Its address without credentials, with the repository's path.
        url: String,
        /// User and password.
        login: Option<(String, Zeroizing<String>)>,
    },
}

/// One sheet: the key or a share of it, and all copies.
#[derive(Clone, PartialEq, Eq)]
pub struct Sheet {
    /// The kit it belongs to.
    pub id: KitId,
    /// The repository that the kit opens.
    pub repository: RepositoryId,
    /// The key.
    pub key: KitKey,
    /// The copies, in order.
    pub copies: Vec<KitCopy>,
}

/// The body of one section.
#[derive(Clone, PartialEq, Eq)]
pub enum Body {
    /// The key or a share, with the repository it is for.
    Key(RepositoryId, KitKey),
    /// A copy.
    Copy(Box<KitCopy>),
}

/// Why a section makes no sense, although its lines are right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ContentError {
    /// Made by a newer program.
    #[error("{0} is of a newer version of the kit: a newer outlast is needed")]
    Version(Section),
    /// Lines of several sheets, or damage.
    #[error(
        "the lines of {0} are right one by one but do not belong together: are they of one sheet?"
    )]
    Damaged(Section),
}

struct Writer(Zeroizing<Vec<u8>>);

impl Writer {
    fn field(&mut self, bytes: &[u8]) {
        // Hexadecimal digits, as most passwords and secrets are, take half the typing.
        let is_lower_hex = |byte: &u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(byte);
        let packed = (bytes.iter().all(is_lower_hex) && !bytes.is_empty())
            .then(|| hex::decode(bytes).ok().map(Zeroizing::new))
            .flatten();
        let (flag, bytes) = match &packed {
            Some(packed) => (HEX, packed.as_slice()),
            None => (0, bytes),
        };
        let length = u16::try_from(bytes.len().min(FIELD_BYTES_MAX)).unwrap_or(0);
        self.0.extend_from_slice(&(length | flag).to_be_bytes());
        self.0.extend_from_slice(&bytes[..usize::from(length)]);
    }

    fn pair(&mut self, pair: Option<(&[u8], &[u8])>) {
        self.0.push(u8::from(pair.is_some()));
        if let Some((first, second)) = pair {
            self.field(first);
            self.field(second);
        }
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn field(&mut self) -> Option<Zeroizing<Vec<u8>>> {
        let length = u16::from_be_bytes(self.array()?);
        let count = usize::from(length & !HEX);
        if count > FIELD_BYTES_MAX {
            return None;
        }
        let bytes = self.take(count)?;
        Some(Zeroizing::new(if length & HEX == 0 {
            bytes.to_vec()
        } else {
            hex::encode(bytes).into_bytes()
        }))
    }

    /// A text that may stand in a line of a page and of a shell: printable, in one line.
    fn text(&mut self) -> Option<Zeroizing<String>> {
        let field = self.field()?;
        let text = Zeroizing::new(String::from_utf8(field.to_vec()).ok()?);
        (!text.chars().any(char::is_control)).then_some(text)
    }

    fn plain(&mut self) -> Option<String> {
        self.text().map(|text| text.to_string())
    }

    fn pair(&mut self) -> Option<Option<(String, Zeroizing<String>)>> {
        match self.byte()? {
            0 => Some(None),
            1 => Some(Some((self.plain()?, self.text()?))),
            _ => None,
        }
    }
}

fn pair_bytes<'a>(pair: Option<(&'a str, &'a str)>) -> Option<(&'a [u8], &'a [u8])> {
    pair.map(|(first, second)| (first.as_bytes(), second.as_bytes()))
}

fn write_copy(out: &mut Writer, copy: &KitCopy) {
    let kind = match copy.place {
        CopyPlace::Vault { .. } => 1,
        CopyPlace::Bucket { .. } => 2,
        CopyPlace::Folder { .. } => 3,
        CopyPlace::Rest { .. } => 4,
        CopyPlace::Sftp { .. } => 5,
    };
    out.0.push(kind);
    out.field(copy.name.as_bytes());
    match &copy.place {
        CopyPlace::Vault {
            addresses,
            pin,
            identity,
            repository,
            token,
        } => {
            let addresses = &addresses[..addresses.len().min(ADDRESSES_MAX)];
            out.0.push(addresses.len() as u8);
            for address in addresses {
                out.field(address.as_bytes());
            }
            out.field(pin.as_ref().map_or(&[], |pin| pin.as_slice()));
            out.field(identity.to_string().as_bytes());
            out.field(repository.as_str().as_bytes());
            let token = token.as_ref().map(|(id, secret)| (id.to_string(), secret));
            let token = token
                .as_ref()
                .map(|(id, secret)| (id.as_str(), secret.as_str()));
            out.pair(pair_bytes(token));
        }
        CopyPlace::Bucket {
            endpoint,
            region,
            bucket,
            prefix,
            access,
        } => {
            for text in [endpoint, region, bucket, prefix] {
                out.field(text.as_bytes());
            }
            let access = access
                .as_ref()
                .map(|(id, secret)| (id.as_str(), secret.as_str()));
            out.pair(pair_bytes(access));
        }
        CopyPlace::Folder { path, below, mark } => {
            for text in [path, below, mark] {
                out.field(text.as_bytes());
            }
        }
        CopyPlace::Sftp { address } => out.field(address.as_bytes()),
        CopyPlace::Rest { url, login } => {
            out.field(url.as_bytes());
            let login = login
                .as_ref()
                .map(|(id, secret)| (id.as_str(), secret.as_str()));
            out.pair(pair_bytes(login));
        }
    }
}

fn read_copy(input: &mut Reader<'_>) -> Option<KitCopy> {
    let kind = input.byte()?;
    let name = input.plain()?;
    let place = match kind {
        1 => {
            let count = usize::from(input.byte()?);
            if !(1..=ADDRESSES_MAX).contains(&count) {
                return None;
            }
            let addresses: Option<Vec<String>> = (0..count).map(|_| input.plain()).collect();
            let pin = input.field()?;
            let pin = match pin.len() {
                0 => None,
                // Bytes that happen to be hexadecimal digits were packed.
                _ => Some(pin.as_slice().try_into().ok()?),
            };
            let identity = input.plain()?.parse().ok()?;
            let repository = input.plain()?.parse().ok()?;
            let token = match input.pair()? {
                None => None,
                Some((id, secret)) => Some((id.parse().ok()?, secret)),
            };
            CopyPlace::Vault {
                addresses: addresses?,
                pin,
                identity,
                repository,
                token,
            }
        }
        2 => CopyPlace::Bucket {
            endpoint: input.plain()?,
            region: input.plain()?,
            bucket: input.plain()?,
            prefix: input.plain()?,
            access: input.pair()?,
        },
        3 => CopyPlace::Folder {
            path: input.plain()?,
            below: input.plain()?,
            mark: input.plain()?,
        },
        4 => CopyPlace::Rest {
            url: input.plain()?,
            login: input.pair()?,
        },
        5 => CopyPlace::Sftp {
            address: input.plain()?,
        },
        _ => return None,
    };
    Some(KitCopy { name, place })
}

fn write_key(out: &mut Writer, repository: &RepositoryId, key: &KitKey) {
    out.0.extend_from_slice(repository);
    match key {
        KitKey::Whole(password) => out.field(password),
        KitKey::Share(share) => {
            out.0
                .extend([share.threshold, share.commitments.len() as u8]);
            for commitment in &share.commitments {
                out.0.extend_from_slice(commitment);
            }
            out.field(&share.value);
        }
    }
}

fn read_key(input: &mut Reader<'_>, section: Section) -> Option<Body> {
    let repository = input.array()?;
    let Section::Share(number) = section else {
        return Some(Body::Key(repository, KitKey::Whole(input.field()?)));
    };
    let [threshold, total] = input.array()?;
    if !(2..=total).contains(&threshold) || total > SHARES_MAX || number > total {
        return None;
    }
    let commitments: Option<Vec<[u8; COMMITMENT_BYTES]>> =
        (0..total).map(|_| input.array()).collect();
    let share = Share {
        number,
        threshold,
        commitments: commitments?,
        value: input.field()?,
    };
    Some(Body::Key(repository, KitKey::Share(share)))
}

fn check_of(section: Section, bytes: &[u8]) -> Vec<u8> {
    let mut text = Zeroizing::new(format!("outlast-kit-section {section}:").into_bytes());
    text.extend_from_slice(bytes);
    hash(&text).as_bytes()[..CHECK_BYTES].to_vec()
}

/// The bytes of a section.
pub fn write_body(id: &KitId, section: Section, body: &Body) -> Zeroizing<Vec<u8>> {
    let mut out = Writer(Zeroizing::new(vec![VERSION]));
    out.0.extend_from_slice(&id.0);
    match body {
        Body::Key(repository, key) => write_key(&mut out, repository, key),
        Body::Copy(copy) => write_copy(&mut out, copy),
    }
    let check = check_of(section, &out.0);
    out.0.extend_from_slice(&check);
    out.0
}

/// The kit and the body of a section.
///
/// # Errors
/// [`ContentError`].
pub fn read_body(section: Section, bytes: &[u8]) -> Result<(KitId, Body), ContentError> {
    let damaged = ContentError::Damaged(section);
    let split = bytes.len().checked_sub(CHECK_BYTES);
    let (content, check) = bytes.split_at(split.ok_or(damaged.clone())?);
    if check_of(section, content) != check {
        return Err(damaged);
    }
    let mut input = Reader(content);
    if input.byte() != Some(VERSION) {
        return Err(ContentError::Version(section));
    }
    let id = KitId(input.array().ok_or(damaged.clone())?);
    let body = match section {
        Section::Copy(_) => read_copy(&mut input).map(Box::new).map(Body::Copy),
        Section::Key | Section::Share(_) => read_key(&mut input, section),
    };
    match body {
        Some(body) if input.0.is_empty() => Ok((id, body)),
        _ => Err(damaged),
    }
}
