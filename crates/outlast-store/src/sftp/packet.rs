//! The packets of SFTP, version 3: requests are written, answers are read. Pure.
//!
//! The protocol is the Internet-Draft draft-ietf-secsh-filexfer-02 with OpenSSH's extensions. What comes
//! in is from a server that may be hostile: every length is held against what is there.

/// Largest packet that is taken, in bytes: what OpenSSH sends at most.
pub(super) const PACKET_BYTES_MAX: usize = 256 * 1024;
/// Longest handle that a server may give out, in bytes, as the draft says.
const HANDLE_BYTES_MAX: usize = 256;

const INIT: u8 = 1;
const VERSION: u8 = 2;
const STATUS: u8 = 101;
const HANDLE: u8 = 102;
const DATA: u8 = 103;
const NAMES: u8 = 104;
const ATTRIBUTES: u8 = 105;
const EXTENDED: u8 = 200;
const EXTENDED_REPLY: u8 = 201;

const HAS_SIZE: u32 = 1;
const HAS_OWNER: u32 = 2;
const HAS_PERMISSIONS: u32 = 4;
const HAS_TIMES: u32 = 8;
const HAS_MORE: u32 = 1 << 31;

/// The kind of file in permissions.
const KIND_MASK: u32 = 0o170_000;
const KIND_FILE: u32 = 0o100_000;
const KIND_FOLDER: u32 = 0o040_000;

/// A packet is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is no SFTP answer")]
pub struct NoSftpAnswer;

/// What is known of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SftpAttributes {
    /// Its size in bytes.
    pub size: Option<u64>,
    /// Its kind and permissions.
    pub permissions: Option<u32>,
    /// When it was changed, seconds since 1970.
    pub modified: Option<u32>,
}

impl SftpAttributes {
    /// Whether it is a file, as far as the server says; none if it does not.
    pub(super) fn is_file(&self) -> Option<bool> {
        self.permissions
            .filter(|mode| mode & KIND_MASK != 0)
            .map(|mode| mode & KIND_MASK == KIND_FILE)
    }

    /// Whether it is a folder, as far as the server says; none if it does not.
    pub(super) fn is_folder(&self) -> Option<bool> {
        self.permissions
            .filter(|mode| mode & KIND_MASK != 0)
            .map(|mode| mode & KIND_MASK == KIND_FOLDER)
    }
}

/// A file in a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SftpEntry {
    /// Its name.
    pub name: Vec<u8>,
    /// What is known of it.
    pub attributes: SftpAttributes,
}

/// What a server answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SftpAnswer {
    /// The first one: the version that it speaks, and its extensions with their data.
    Version(u32, Vec<(Vec<u8>, Vec<u8>)>),
    /// How something went, and what the server says of it.
    Status(u32, String),
    /// An open file or folder.
    Handle(Vec<u8>),
    /// Bytes of a file.
    Data(Vec<u8>),
    /// Files of a folder.
    Names(Vec<SftpEntry>),
    /// What is known of a file.
    Attributes(SftpAttributes),
    /// The answer of an extension.
    Extended(Vec<u8>),
}

impl SftpAnswer {
    /// Reads a packet without its length: the id of the request, which the first answer does not
    /// have, and the answer.
    ///
    /// # Errors
    /// [`NoSftpAnswer`] for everything else. What follows a whole answer is passed over, as the draft wants.
    pub fn parse(packet: &[u8]) -> Result<(Option<u32>, Self), NoSftpAnswer> {
        let mut input = Input(packet);
        let kind = input.byte()?;
        if kind == VERSION {
            let version = input.number()?;
            let mut extensions = Vec::new();
            while !input.0.is_empty() {
                extensions.push((input.text()?.to_vec(), input.text()?.to_vec()));
            }
            return Ok((None, Self::Version(version, extensions)));
        }
        let id = input.number()?;
        let answer = match kind {
            STATUS => {
                let code = input.number()?;
                // Old servers leave the message out.
                let message = input.text().unwrap_or_default();
                Self::Status(code, String::from_utf8_lossy(message).into_owned())
            }
            HANDLE => {
                let handle = input.text()?;
                if handle.len() > HANDLE_BYTES_MAX {
                    return Err(NoSftpAnswer);
                }
                Self::Handle(handle.to_vec())
            }
            DATA => Self::Data(input.text()?.to_vec()),
            NAMES => {
                let count = input.number()?;
                let mut entries = Vec::new();
                // Each takes its bytes of the packet, so that no count makes this long.
                for _ in 0..count {
                    let name = input.text()?.to_vec();
                    input.text()?;
                    let attributes = input.attributes()?;
                    entries.push(SftpEntry { name, attributes });
                }
                Self::Names(entries)
            }
            ATTRIBUTES => Self::Attributes(input.attributes()?),
            EXTENDED_REPLY => Self::Extended(input.0.to_vec()),
            _ => return Err(NoSftpAnswer),
        };
        Ok((Some(id), answer))
    }

    /// Writes the answer with its length, as a server does. The first answer has no id.
    pub fn encode(&self, id: u32) -> Vec<u8> {
        let start = |kind| Request::new(kind).number(id);
        let answer = match self {
            Self::Version(version, extensions) => {
                let first = Request::new(VERSION).number(*version);
                extensions
                    .iter()
                    .fold(first, |answer, (name, data)| answer.text(name).text(data))
            }
            Self::Status(code, message) => start(STATUS)
                .number(*code)
                .text(message.as_bytes())
                .text(b""),
            Self::Handle(handle) => start(HANDLE).text(handle),
            Self::Data(data) => start(DATA).text(data),
            Self::Names(entries) => {
                let count = u32::try_from(entries.len()).unwrap_or(u32::MAX);
                let first = start(NAMES).number(count);
                entries.iter().fold(first, |answer, entry| {
                    let answer = answer.text(&entry.name).text(b"");
                    answer.attributes(&entry.attributes)
                })
            }
            Self::Attributes(attributes) => start(ATTRIBUTES).attributes(attributes),
            Self::Extended(bytes) => start(EXTENDED_REPLY).bytes(bytes),
        };
        answer.finish()
    }
}

/// What is left of a packet.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], NoSftpAnswer> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(NoSftpAnswer)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], NoSftpAnswer> {
        self.take(N)?.try_into().map_err(|_| NoSftpAnswer)
    }

    fn byte(&mut self) -> Result<u8, NoSftpAnswer> {
        Ok(u8::from_be_bytes(self.array()?))
    }

    fn number(&mut self) -> Result<u32, NoSftpAnswer> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    fn large(&mut self) -> Result<u64, NoSftpAnswer> {
        Ok(u64::from_be_bytes(self.array()?))
    }

    fn text(&mut self) -> Result<&'a [u8], NoSftpAnswer> {
        let length = self.number()?;
        self.take(usize::try_from(length).map_err(|_| NoSftpAnswer)?)
    }

    fn attributes(&mut self) -> Result<SftpAttributes, NoSftpAnswer> {
        let flags = self.number()?;
        let mut attributes = SftpAttributes::default();
        if flags & HAS_SIZE != 0 {
            attributes.size = Some(self.large()?);
        }
        if flags & HAS_OWNER != 0 {
            self.take(8)?;
        }
        if flags & HAS_PERMISSIONS != 0 {
            attributes.permissions = Some(self.number()?);
        }
        if flags & HAS_TIMES != 0 {
            self.number()?;
            attributes.modified = Some(self.number()?);
        }
        if flags & HAS_MORE != 0 {
            let count = self.number()?;
            // Each takes its bytes of the packet here too.
            for _ in 0..count {
                self.text()?;
                self.text()?;
            }
        }
        Ok(attributes)
    }
}

/// Kinds of requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Verb {
    Open = 3,
    Close = 4,
    Read = 5,
    Write = 6,
    StatOpen = 8,
    SetOpen = 10,
    OpenFolder = 11,
    ReadFolder = 12,
    Remove = 13,
    MakeFolder = 14,
    Stat = 17,
    Rename = 18,
}

/// How a file is opened.
pub(super) const OPEN_READ: u32 = 1;
/// To be written, and made by this very request.
pub(super) const OPEN_NEW: u32 = 2 | 8 | 0x20;

/// A packet that is being written.
pub(super) struct Request(Vec<u8>);

impl Request {
    fn new(kind: u8) -> Self {
        Self(vec![0, 0, 0, 0, kind])
    }

    /// The first packet.
    pub(super) fn hello() -> Vec<u8> {
        Self::new(INIT).number(3).finish()
    }

    /// A request.
    pub(super) fn of(verb: Verb, id: u32) -> Self {
        Self::new(verb as u8).number(id)
    }

    /// A request of an extension.
    pub(super) fn extended(name: &str, id: u32) -> Self {
        Self::new(EXTENDED).number(id).text(name.as_bytes())
    }

    /// With a number.
    pub(super) fn number(self, number: u32) -> Self {
        self.bytes(&number.to_be_bytes())
    }

    /// With a large number.
    pub(super) fn large(self, number: u64) -> Self {
        self.bytes(&number.to_be_bytes())
    }

    /// With bytes and their length. Nothing that is sent comes near the largest length.
    pub(super) fn text(self, bytes: &[u8]) -> Self {
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        self.number(length).bytes(bytes)
    }

    /// With permissions and nothing else of the attributes.
    pub(super) fn permissions(self, mode: u32) -> Self {
        self.number(HAS_PERMISSIONS).number(mode)
    }

    fn attributes(self, attributes: &SftpAttributes) -> Self {
        let flag = |is_there: bool, flag| if is_there { flag } else { 0 };
        let flags = flag(attributes.size.is_some(), HAS_SIZE)
            | flag(attributes.permissions.is_some(), HAS_PERMISSIONS)
            | flag(attributes.modified.is_some(), HAS_TIMES);
        let mut answer = self.number(flags);
        if let Some(size) = attributes.size {
            answer = answer.large(size);
        }
        if let Some(permissions) = attributes.permissions {
            answer = answer.number(permissions);
        }
        if let Some(modified) = attributes.modified {
            answer = answer.number(modified).number(modified);
        }
        answer
    }

    fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// The packet, its length in front.
    pub(super) fn finish(mut self) -> Vec<u8> {
        let length = u32::try_from(self.0.len() - 4).unwrap_or(u32::MAX);
        self.0[..4].copy_from_slice(&length.to_be_bytes());
        self.0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn requests_are_as_the_draft_has_them() {
        assert_eq!(Request::hello(), [0, 0, 0, 5, 1, 0, 0, 0, 3]);
        let open = Request::of(Verb::Open, 7).text(b"/a").number(OPEN_READ);
        let expected = [
            0, 0, 0, 19, 3, 0, 0, 0, 7, 0, 0, 0, 2, b'/', b'a', 0, 0, 0, 1, 0, 0, 0, 0,
        ];
        assert_eq!(open.number(0).finish(), expected);
        let made = Request::of(Verb::MakeFolder, 1)
            .text(b"d")
            .permissions(0o700);
        let expected = [
            0, 0, 0, 18, 14, 0, 0, 0, 1, 0, 0, 0, 1, b'd', 0, 0, 0, 4, 0, 0, 1, 0o300,
        ];
        assert_eq!(made.finish(), expected);
    }

    #[test]
    fn answers_are_read_as_the_draft_has_them() {
        // A file with everything that attributes can have.
        let packet = [
            &[105, 0, 0, 0, 9, 0x80, 0, 0, 15][..],
            &[0, 0, 0, 1, 0, 0, 0, 2],
            &[0, 0, 0, 5, 0, 0, 0, 6],
            &[0, 0, 0x81, 0x80],
            &[0, 0, 0, 3, 0, 0, 0, 4],
            &[0, 0, 0, 1, 0, 0, 0, 1, b'x', 0, 0, 0, 0],
        ]
        .concat();
        let attributes = SftpAttributes {
            size: Some((1 << 32) + 2),
            permissions: Some(0o100_600),
            modified: Some(4),
        };
        assert_eq!(
            SftpAnswer::parse(&packet),
            Ok((Some(9), SftpAnswer::Attributes(attributes)))
        );
        assert_eq!(attributes.is_file(), Some(true));
        assert_eq!(attributes.is_folder(), Some(false));
        assert_eq!(SftpAttributes::default().is_file(), None);
        for length in 0..packet.len() {
            assert_eq!(SftpAnswer::parse(&packet[..length]), Err(NoSftpAnswer));
        }
        // Without the message that old servers leave out.
        assert_eq!(
            SftpAnswer::parse(&[101, 0, 0, 0, 1, 0, 0, 0, 2]),
            Ok((Some(1), SftpAnswer::Status(2, String::new())))
        );
    }

    #[test]
    fn lengths_and_counts_are_not_believed() {
        let large = [0xff; 4];
        for packet in [
            [&[102, 0, 0, 0, 1][..], &large].concat(),
            [&[103, 0, 0, 0, 1][..], &large, &[1, 2, 3]].concat(),
            [&[104, 0, 0, 0, 1][..], &large].concat(),
            [&[105, 0, 0, 0, 1, 0x80, 0, 0, 0][..], &large].concat(),
            SftpAnswer::Handle(vec![7; 257]).encode(1)[4..].to_vec(),
            vec![100, 0, 0, 0, 1],
            vec![2],
            vec![],
        ] {
            assert_eq!(SftpAnswer::parse(&packet), Err(NoSftpAnswer), "{packet:?}");
        }
    }

    fn attributes() -> impl Strategy<Value = SftpAttributes> {
        let parts = any::<(Option<u64>, Option<u32>, Option<u32>)>();
        parts.prop_map(|(size, permissions, modified)| SftpAttributes {
            size,
            permissions,
            modified,
        })
    }

    fn answer() -> impl Strategy<Value = SftpAnswer> {
        let bytes = || proptest::collection::vec(any::<u8>(), 0..200);
        let entry =
            (bytes(), attributes()).prop_map(|(name, attributes)| SftpEntry { name, attributes });
        prop_oneof![
            (
                any::<u32>(),
                proptest::collection::vec((bytes(), bytes()), 0..4)
            )
                .prop_map(|(version, extensions)| SftpAnswer::Version(version, extensions)),
            (any::<u32>(), ".{0,50}").prop_map(|(code, text)| SftpAnswer::Status(code, text)),
            bytes().prop_map(SftpAnswer::Handle),
            bytes().prop_map(SftpAnswer::Data),
            proptest::collection::vec(entry, 0..5).prop_map(SftpAnswer::Names),
            attributes().prop_map(SftpAnswer::Attributes),
            bytes().prop_map(SftpAnswer::Extended),
        ]
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(id: u32, answer in answer()) {
            let packet = answer.encode(id);
            let (length, packet) = packet.split_at(4);
            prop_assert_eq!(u32::from_be_bytes(length.try_into().unwrap()) as usize, packet.len());
            let is_first = matches!(answer, SftpAnswer::Version(..));
            let expected = (!is_first).then_some(id);
            prop_assert_eq!(SftpAnswer::parse(packet), Ok((expected, answer)));
        }

        #[test]
        fn junk_is_an_error_or_an_answer(packet in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = SftpAnswer::parse(&packet);
        }

        #[test]
        fn damage_is_an_error_or_an_answer(
            id: u32, answer in answer(), at: usize, byte: u8, keep: usize
        ) {
            let mut packet = answer.encode(id).split_off(4);
            let at = at % packet.len();
            packet[at] = byte;
            let _ = SftpAnswer::parse(&packet);
            let _ = SftpAnswer::parse(&packet[..keep % packet.len()]);
        }
    }
}
