//! Tiles: the tree and the entries in static files (C2SP tlog-tiles).

use crate::tree::{Hash, node_hash};

/// Hashes in a full tile, entries in a full bundle.
pub const TILE_WIDTH: u64 = 256;
/// Longest entry of a bundle, in bytes.
pub const ENTRY_BYTES_MAX: usize = u16::MAX as usize;
/// Levels of the tree in a tile.
const TILE_HEIGHT: u8 = 8;
/// Highest level of tiles: above it a tree has no more entries than numbers go.
const LEVEL_MAX: u8 = 7;

/// Why bytes are no tile or bundle.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TileError {
    /// Not of the length of a tile.
    #[error("a tile of {0} bytes is not one of whole hashes")]
    Length(usize),
    /// The hash wanted is not in the tile.
    #[error("level {0}, index {1} is not in the tile")]
    Outside(u8, u64),
    /// A bundle that ends in the middle of an entry, or has too many.
    #[error("not a bundle of entries")]
    Bundle,
}

/// A tile of hashes. A full one has a width of 256.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tile {
    /// Level: tiles of level 1 are over those of level 0.
    pub level: u8,
    /// Number within the level.
    pub index: u64,
    /// Hashes in it, 1 to 256.
    pub width: u16,
}

/// A bundle of entries. A full one has a width of 256.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryBundle {
    /// Number of the bundle.
    pub index: u64,
    /// Entries in it, 1 to 256.
    pub width: u16,
}

fn write_index(index: u64, width: u16) -> String {
    let mut groups = format!("{:03}", index % 1000);
    let mut rest = index / 1000;
    while rest > 0 {
        groups = format!("x{:03}/{groups}", rest % 1000);
        rest /= 1000;
    }
    if u64::from(width) < TILE_WIDTH {
        groups.push_str(&format!(".p/{width}"));
    }
    groups
}

fn parse_index(text: &str) -> Option<(u64, u16)> {
    let (groups, width) = match text.split_once(".p/") {
        Some((groups, width)) => (groups, width.parse::<u16>().ok()?),
        None => (text, TILE_WIDTH as u16),
    };
    let mut index = 0_u64;
    for group in groups.split('/') {
        let digits = group.strip_prefix('x').unwrap_or(group);
        if digits.len() != 3 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        index = index.checked_mul(1000)?.checked_add(digits.parse().ok()?)?;
    }
    // There is one spelling only.
    (width > 0 && write_index(index, width) == text).then_some((index, width))
}

impl Tile {
    /// The path below the log's address.
    pub fn path(&self) -> String {
        format!(
            "tile/{}/{}",
            self.level,
            write_index(self.index, self.width)
        )
    }

    /// Reads a path.
    pub fn parse(path: &str) -> Option<Self> {
        let (level, index) = path.strip_prefix("tile/")?.split_once('/')?;
        let number: u8 = level.parse().ok()?;
        if number > LEVEL_MAX || number.to_string() != level {
            return None;
        }
        let (index, width) = parse_index(index)?;
        Some(Self {
            level: number,
            index,
            width,
        })
    }

    /// The full tile that has the complete subtree at this level and index of the tree.
    pub fn containing(level: u8, index: u64) -> Self {
        let tile_level = level / TILE_HEIGHT;
        let below = level % TILE_HEIGHT;
        Self {
            level: tile_level,
            index: index >> (TILE_HEIGHT - below),
            width: TILE_WIDTH as u16,
        }
    }
}

impl EntryBundle {
    /// The path below the log's address.
    pub fn path(&self) -> String {
        format!("tile/entries/{}", write_index(self.index, self.width))
    }

    /// Reads a path.
    pub fn parse(path: &str) -> Option<Self> {
        let (index, width) = parse_index(path.strip_prefix("tile/entries/")?)?;
        Some(Self { index, width })
    }
}

/// The hash of the complete subtree at this level and index of the tree, out of the bytes of the
/// tile that [`Tile::containing`] names, which may be partial.
///
/// # Errors
/// [`TileError`] if the tile is malformed or too short.
pub fn subtree_in_tile(bytes: &[u8], level: u8, index: u64) -> Result<Hash, TileError> {
    let (hashes, rest) = bytes.as_chunks::<32>();
    if !rest.is_empty() || hashes.len() > TILE_WIDTH as usize {
        return Err(TileError::Length(bytes.len()));
    }
    let below = level % TILE_HEIGHT;
    let first = ((index << below) % TILE_WIDTH) as usize;
    let wanted = hashes
        .get(first..first + (1 << below))
        .ok_or(TileError::Outside(level, index))?;
    let mut row: Vec<Hash> = wanted
        .iter()
        .map(|bytes| Hash::from_bytes(*bytes))
        .collect();
    while row.len() > 1 {
        row = row
            .chunks_exact(2)
            .map(|pair| node_hash(&pair[0], &pair[1]))
            .collect();
    }
    row.first().copied().ok_or(TileError::Outside(level, index))
}

/// Appends an entry, of at most [`ENTRY_BYTES_MAX`] bytes, to a bundle.
///
/// # Errors
/// [`TileError::Bundle`] if it is longer.
pub fn encode_bundle_entry(bundle: &mut Vec<u8>, entry: &[u8]) -> Result<(), TileError> {
    let length = u16::try_from(entry.len()).map_err(|_| TileError::Bundle)?;
    bundle.extend_from_slice(&length.to_be_bytes());
    bundle.extend_from_slice(entry);
    Ok(())
}

/// The entries of a bundle.
///
/// # Errors
/// [`TileError::Bundle`].
pub fn decode_bundle(mut bytes: &[u8]) -> Result<Vec<&[u8]>, TileError> {
    let mut entries = Vec::new();
    while !bytes.is_empty() {
        let (length, rest) = bytes.split_first_chunk().ok_or(TileError::Bundle)?;
        let length = usize::from(u16::from_be_bytes(*length));
        let (entry, rest) = rest.split_at_checked(length).ok_or(TileError::Bundle)?;
        entries.push(entry);
        if entries.len() > TILE_WIDTH as usize {
            return Err(TileError::Bundle);
        }
        bytes = rest;
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::{leaf_hash, tree_root};

    #[test]
    fn paths_are_those_of_the_specification() {
        let full = Tile {
            level: 0,
            index: 1_234_067,
            width: 256,
        };
        assert_eq!(full.path(), "tile/0/x001/x234/067");
        let partial = Tile {
            level: 1,
            index: 3,
            width: 5,
        };
        assert_eq!(partial.path(), "tile/1/003.p/5");
        let bundle = EntryBundle {
            index: 1000,
            width: 256,
        };
        assert_eq!(bundle.path(), "tile/entries/x001/000");
        for tile in [full, partial] {
            assert_eq!(Tile::parse(&tile.path()), Some(tile));
        }
        assert_eq!(EntryBundle::parse(&bundle.path()), Some(bundle));
        for bad in [
            "tile/0/1",
            "tile/0/x000/001",
            "tile/00/001",
            "tile/8/001",
            "tile/0/001.p/256",
            "tile/0/001.p/0",
            "tile/0/001.p/05",
            "tile/0/001/002",
            "tile/0/x001",
            "tile/0/x999/x999/x999/x999/x999/x999/x999/999",
            "tile/0/../001",
            "tile/0/-01",
            "",
        ] {
            assert_eq!(Tile::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn subtrees_are_found_in_tiles() {
        let leaves: Vec<Hash> = (0..256_u16).map(|n| leaf_hash(&n.to_be_bytes())).collect();
        let bytes: Vec<u8> = leaves.iter().flat_map(|hash| *hash.as_bytes()).collect();
        for (level, index) in [(0_u8, 0_u64), (0, 255), (3, 31), (7, 1)] {
            let (start, count) = ((index << level) as usize, 1_usize << level);
            let expected = tree_root(leaves[start..start + count].iter().copied());
            assert_eq!(subtree_in_tile(&bytes, level, index), Ok(expected));
        }
        assert_eq!(
            subtree_in_tile(&bytes[..320], 4, 0),
            Err(TileError::Outside(4, 0))
        );
        assert_eq!(
            subtree_in_tile(&bytes[..33], 0, 0),
            Err(TileError::Length(33))
        );
        assert_eq!(
            Tile::containing(8, 3),
            Tile {
                level: 1,
                index: 0,
                width: 256
            }
        );
        assert_eq!(
            Tile::containing(3, 32),
            Tile {
                level: 0,
                index: 1,
                width: 256
            }
        );
    }

    #[test]
    fn bundles_come_back_and_broken_ones_are_refused() {
        let mut bundle = Vec::new();
        encode_bundle_entry(&mut bundle, b"one").unwrap();
        encode_bundle_entry(&mut bundle, b"").unwrap();
        assert_eq!(decode_bundle(&bundle), Ok(vec![&b"one"[..], b""]));
        assert_eq!(decode_bundle(&bundle[..4]), Err(TileError::Bundle));
        assert_eq!(decode_bundle(&[0; 2 * 257]), Err(TileError::Bundle));
        let long = vec![0; ENTRY_BYTES_MAX + 1];
        assert_eq!(
            encode_bundle_entry(&mut bundle, &long),
            Err(TileError::Bundle)
        );
    }
}
