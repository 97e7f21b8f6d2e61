//! Tar as POSIX.1-2001 has it: ustar headers, and extended headers for what does not fit there.

use std::io::Write;
use std::os::unix::ffi::OsStrExt;

use outlast_format::{Node, NodeKind, Time};
use tar::{EntryType, Header};

use super::output_error;
use super::stream::Item;
use crate::{RepoError, WalkEntry};

const BLOCK_BYTES: u64 = 512;
/// Largest number that seven octal digits hold: user and group ids.
const ID_MAX: u32 = 0o7_777_777;
/// Largest number that eleven octal digits hold: sizes and times.
const NUMBER_MAX: u64 = 0o77_777_777_777;

/// Writes entries as they come.
pub(super) struct TarWriter<'a> {
    output: &'a mut dyn Write,
    /// Bytes of the current file that are still to come.
    missing: u64,
    size: u64,
    path: std::path::PathBuf,
}

impl<'a> TarWriter<'a> {
    pub(super) fn new(output: &'a mut dyn Write) -> Self {
        Self {
            output,
            missing: 0,
            size: 0,
            path: std::path::PathBuf::new(),
        }
    }

    pub(super) fn take(&mut self, item: Item<'_>) -> Result<(), RepoError> {
        match item {
            Item::Entry(entry) => self.entry(entry),
            Item::Data(bytes) => {
                let rest = self.missing.checked_sub(bytes.len() as u64);
                self.missing = rest.ok_or_else(|| self.wrong_size())?;
                self.output.write_all(bytes).map_err(output_error)
            }
            Item::EndOfFile if self.missing > 0 => Err(self.wrong_size()),
            Item::EndOfFile => self.pad(self.size),
        }
    }

    /// Two blocks of zeros end an archive.
    pub(super) fn finish(self) -> Result<(), RepoError> {
        let end = [0; 2 * BLOCK_BYTES as usize];
        self.output.write_all(&end).map_err(output_error)?;
        self.output.flush().map_err(output_error)
    }

    fn wrong_size(&self) -> RepoError {
        RepoError::FileDamaged {
            path: self.path.clone(),
            reason: "its content is not as long as its index entries say".to_owned(),
        }
    }

    fn pad(&mut self, size: u64) -> Result<(), RepoError> {
        let padding = size.next_multiple_of(BLOCK_BYTES) - size;
        let zeros = [0; BLOCK_BYTES as usize];
        self.output
            .write_all(&zeros[..padding as usize])
            .map_err(output_error)
    }

    fn entry(&mut self, entry: &WalkEntry) -> Result<(), RepoError> {
        let node = &entry.node;
        let kind = match node.kind {
            NodeKind::File => EntryType::Regular,
            NodeKind::Directory => EntryType::Directory,
            NodeKind::Symlink => EntryType::Symlink,
            NodeKind::BlockDevice => EntryType::Block,
            NodeKind::CharacterDevice => EntryType::Char,
            NodeKind::Fifo => EntryType::Fifo,
            // Tar has no word for them.
            NodeKind::Socket | NodeKind::Other(_) => return Ok(()),
        };
        let mut name = entry.path.as_os_str().as_bytes();
        name = name.strip_prefix(b"/").unwrap_or(name);
        let mut name = name.to_vec();
        if node.is_directory() {
            name.push(b'/');
        }
        self.path.clone_from(&entry.path);
        self.size = if node.is_file() { node.size } else { 0 };
        self.missing = self.size;

        let records = pax_records(node, &name, self.size);
        if !records.is_empty() {
            let mut extended = Header::new_ustar();
            fill(&mut extended.as_old_mut().name, b"PaxHeaders/extended");
            extended.set_entry_type(EntryType::XHeader);
            extended.set_size(records.len() as u64);
            extended.set_mode(0o644);
            extended.set_cksum();
            self.write(extended.as_bytes())?;
            self.write(&records)?;
            self.pad(records.len() as u64)?;
        }
        let header = header(node, kind, &name, self.size);
        self.write(header.as_bytes())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), RepoError> {
        self.output.write_all(bytes).map_err(output_error)
    }
}

fn fill(field: &mut [u8], value: &[u8]) {
    let length = value.len().min(field.len());
    field[..length].copy_from_slice(&value[..length]);
}

/// The header; what does not fit is cut here and stands in full in the extended header.
fn header(node: &Node, kind: EntryType, name: &[u8], size: u64) -> Header {
    let mut header = Header::new_ustar();
    header.set_entry_type(kind);
    fill(&mut header.as_old_mut().name, name);
    fill(&mut header.as_old_mut().linkname, &node.link_target);
    header.set_mode(node.mode.permissions());
    header.set_uid(node.uid.min(ID_MAX).into());
    header.set_gid(node.gid.min(ID_MAX).into());
    header.set_size(size.min(NUMBER_MAX));
    header.set_mtime(
        u64::try_from(node.mtime.seconds())
            .unwrap_or(0)
            .min(NUMBER_MAX),
    );
    if let Some(ustar) = header.as_ustar_mut() {
        fill(&mut ustar.uname[..31], node.user.as_bytes());
        fill(&mut ustar.gname[..31], node.group.as_bytes());
    }
    if matches!(kind, EntryType::Block | EntryType::Char) {
        // Both fields hold seven octal digits; larger numbers do not exist on Linux.
        let (major, minor) = (
            rustix::fs::major(node.device),
            rustix::fs::minor(node.device),
        );
        let _ = header.set_device_major(major.min(ID_MAX));
        let _ = header.set_device_minor(minor.min(ID_MAX));
    }
    header.set_cksum();
    header
}

/// The records of the extended header.
fn pax_records(node: &Node, name: &[u8], size: u64) -> Vec<u8> {
    let mut records = Vec::new();
    if name.len() > 100 || !name.is_ascii() {
        push_record(&mut records, "path", name);
    }
    if node.link_target.len() > 100 || !node.link_target.is_ascii() {
        push_record(&mut records, "linkpath", &node.link_target);
    }
    if size > NUMBER_MAX {
        push_record(&mut records, "size", size.to_string().as_bytes());
    }
    for (key, id) in [("uid", node.uid), ("gid", node.gid)] {
        if id > ID_MAX {
            push_record(&mut records, key, id.to_string().as_bytes());
        }
    }
    for (key, text) in [("uname", &node.user), ("gname", &node.group)] {
        if text.len() > 31 || !text.is_ascii() {
            push_record(&mut records, key, text.as_bytes());
        }
    }
    if node.mtime.nanos() != 0 || node.mtime.seconds() < 0 {
        push_record(&mut records, "mtime", seconds_text(node.mtime).as_bytes());
    }
    for attribute in &node.extended_attributes {
        let value = attribute.value.as_deref().unwrap_or_default();
        let acl = match attribute.name.as_str() {
            "system.posix_acl_access" => Some("SCHILY.acl.access"),
            "system.posix_acl_default" => Some("SCHILY.acl.default"),
            _ => None,
        };
        match acl {
            Some(key) => {
                if let Some(text) = acl_text(value) {
                    push_record(&mut records, key, text.as_bytes());
                }
            }
            None if attribute.name.contains(['=', '\0']) => {}
            None => push_record(
                &mut records,
                &format!("SCHILY.xattr.{}", attribute.name),
                value,
            ),
        }
    }
    records
}

fn seconds_text(time: Time) -> String {
    let (seconds, nanos) = time.instant();
    if seconds < 0 && nanos > 0 {
        // As a decimal number the fraction counts away from zero.
        return format!("-{}.{:09}", -(seconds + 1), 1_000_000_000 - nanos);
    }
    format!("{seconds}.{nanos:09}")
}

/// `<length> <key>=<value>\n`, where the length counts its own digits.
fn push_record(records: &mut Vec<u8>, key: &str, value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut digits = 1;
    while (rest + digits).to_string().len() > digits {
        digits += 1;
    }
    records.extend_from_slice(format!("{} {key}=", rest + digits).as_bytes());
    records.extend_from_slice(value);
    records.push(b'\n');
}

/// The text form of a POSIX ACL as Linux keeps it in an attribute; `None` if it is not one.
fn acl_text(value: &[u8]) -> Option<String> {
    let entries = value.strip_prefix(&2_u32.to_le_bytes())?;
    let (entries, rest) = entries.as_chunks::<8>();
    if !rest.is_empty() {
        return None;
    }
    let mut text = String::new();
    for entry in entries {
        let tag = u16::from_le_bytes([entry[0], entry[1]]);
        let permissions = u16::from_le_bytes([entry[2], entry[3]]);
        let id = u32::from_le_bytes([entry[4], entry[5], entry[6], entry[7]]);
        text.push_str(&match tag {
            0x01 => "user::".to_owned(),
            0x02 => format!("user:{id}:"),
            0x04 => "group::".to_owned(),
            0x08 => format!("group:{id}:"),
            0x10 => "mask::".to_owned(),
            0x20 => "other::".to_owned(),
            _ => return None,
        });
        for (bit, letter) in [(4, 'r'), (2, 'w'), (1, 'x')] {
            text.push(if permissions & bit != 0 { letter } else { '-' });
        }
        text.push('\n');
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_count_their_own_length() {
        for length in [0, 1, 90, 91, 92, 93, 94, 95, 990, 991, 992, 993, 9990, 9991] {
            let mut records = Vec::new();
            push_record(&mut records, "k", &vec![b'v'; length]);
            let space = records.iter().position(|byte| *byte == b' ').unwrap();
            let claimed: usize = std::str::from_utf8(&records[..space])
                .unwrap()
                .parse()
                .unwrap();
            assert_eq!(claimed, records.len());
        }
    }

    #[test]
    fn access_control_lists_become_text() {
        let mut value = 2_u32.to_le_bytes().to_vec();
        for (tag, permissions, id) in [
            (1_u16, 6_u16, u32::MAX),
            (2, 4, 1000),
            (4, 5, u32::MAX),
            (0x10, 7, u32::MAX),
            (0x20, 0, u32::MAX),
        ] {
            value.extend_from_slice(&tag.to_le_bytes());
            value.extend_from_slice(&permissions.to_le_bytes());
            value.extend_from_slice(&id.to_le_bytes());
        }
        let text = "user::rw-\nuser:1000:r--\ngroup::r-x\nmask::rwx\nother::---\n";
        assert_eq!(acl_text(&value).as_deref(), Some(text));
        value.pop();
        assert_eq!(acl_text(&value), None);
        assert_eq!(acl_text(b"junk"), None);
    }

    #[test]
    fn times_before_1970_are_decimal_numbers() {
        assert_eq!(seconds_text(Time::utc(-1, 500_000_000)), "-0.500000000");
        assert_eq!(seconds_text(Time::utc(-3, 250_000_000)), "-2.750000000");
        assert_eq!(seconds_text(Time::utc(5, 1)), "5.000000001");
    }
}
