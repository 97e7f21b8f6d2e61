//! Reading the headers of packs: the truth about what is in them.

use outlast_format::{MasterKey, PACK_LENGTH_BYTES, PackedBlob, SEAL_BYTES, parse_pack_header};
use outlast_object::{Id, ObjectName, PACK_HEADER_BYTES_MAX};
use outlast_store::Store;

use crate::RepoError;

/// Bytes read from the end of a pack at first; enough for the headers of most packs.
const TAIL_BYTES: u64 = 16 * 1024;

/// Reads and opens the header of a pack. `pack_bytes` is the pack's size where it is known.
pub fn read_pack_header(
    store: &dyn Store,
    key: &MasterKey,
    pack: Id,
    pack_bytes: Option<u64>,
) -> Result<Vec<PackedBlob>, RepoError> {
    let name = ObjectName::pack(pack);
    let size = match pack_bytes {
        Some(size) => size,
        None => store.size(&name)?,
    };
    let damaged = |reason: &str| RepoError::damaged(name, reason);
    if size < (PACK_LENGTH_BYTES + SEAL_BYTES) as u64 {
        return Err(damaged("it is too short to be a pack"));
    }
    let tail_bytes = size.min(TAIL_BYTES);
    let tail = store.read_range(&name, size - tail_bytes, tail_bytes as usize)?;
    let header_bytes = header_length(&tail, size).map_err(damaged)?;
    let rest = &tail[..tail.len().saturating_sub(PACK_LENGTH_BYTES)];
    let longer;
    let header = match rest.len().checked_sub(header_bytes) {
        Some(start) => &rest[start..],
        None => {
            let offset = size - (PACK_LENGTH_BYTES + header_bytes) as u64;
            longer = store.read_range(&name, offset, header_bytes)?;
            &longer[..]
        }
    };
    parse_pack_header(header, size, key).map_err(|error| RepoError::damaged(name, error))
}

/// The length of the sealed header, from the last bytes of a pack of `size` bytes.
fn header_length(tail: &[u8], size: u64) -> Result<usize, &'static str> {
    let length = tail
        .last_chunk::<PACK_LENGTH_BYTES>()
        .ok_or("it ends too early")?;
    let header_bytes = u64::from(u32::from_le_bytes(*length));
    if header_bytes < SEAL_BYTES as u64
        || header_bytes > PACK_HEADER_BYTES_MAX
        || header_bytes + PACK_LENGTH_BYTES as u64 > size
    {
        return Err("the length of its header is impossible");
    }
    Ok(header_bytes as usize)
}

/// Opens the header of a pack that is in memory as a whole.
pub(crate) fn parse_whole_pack(
    bytes: &[u8],
    name: ObjectName,
    key: &MasterKey,
) -> Result<Vec<PackedBlob>, RepoError> {
    let size = bytes.len() as u64;
    if size < (PACK_LENGTH_BYTES + SEAL_BYTES) as u64 {
        return Err(RepoError::damaged(name, "it is too short to be a pack"));
    }
    let header_bytes =
        header_length(bytes, size).map_err(|reason| RepoError::damaged(name, reason))?;
    let end = bytes.len() - PACK_LENGTH_BYTES;
    parse_pack_header(&bytes[end - header_bytes..end], size, key)
        .map_err(|error| RepoError::damaged(name, error))
}
