//! Compression of blobs and documents with zstd.

use std::cell::RefCell;
use std::str::FromStr;

use zstd::zstd_safe;

use crate::FormatError;

/// How much effort goes into compression; restic's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub enum Compression {
    /// Data blobs are not compressed; documents and trees are.
    Off,
    /// A good ratio at good speed.
    #[default]
    Auto,
    /// As fast as possible.
    Fastest,
    /// Better than `auto`, slower.
    Better,
    /// As small as possible, very slow.
    Max,
}

impl Compression {
    /// The zstd level; `None` for no compression.
    pub const fn level(self) -> Option<i32> {
        match self {
            Compression::Off => None,
            Compression::Fastest => Some(1),
            Compression::Auto => Some(3),
            Compression::Better => Some(7),
            Compression::Max => Some(15),
        }
    }
}

impl FromStr for Compression {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text {
            "off" => Compression::Off,
            "auto" => Compression::Auto,
            "fastest" => Compression::Fastest,
            "better" => Compression::Better,
            "max" => Compression::Max,
            _ => {
                return Err(format!(
                    "invalid compression mode {text:?}, must be one of off, auto, fastest, better, max"
                ));
            }
        })
    }
}

/// A compressor whose memory is used again from blob to blob.
pub struct Compressor {
    inner: zstd::bulk::Compressor<'static>,
    buffer: Vec<u8>,
}

impl std::fmt::Debug for Compressor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Compressor(..)")
    }
}

fn failed(error: impl ToString) -> FormatError {
    FormatError::Compression(error.to_string())
}

impl Compressor {
    /// A compressor of this zstd level.
    pub fn new(level: i32) -> Result<Self, FormatError> {
        let inner = zstd::bulk::Compressor::new(level).map_err(failed)?;
        Ok(Self {
            inner,
            buffer: Vec::new(),
        })
    }

    /// One frame with the content's size in its header and no checksum (the MAC does that).
    pub fn compress(&mut self, plaintext: &[u8]) -> Result<Vec<u8>, FormatError> {
        self.inner.compress(plaintext).map_err(failed)
    }

    /// The compressed bytes, or `None` where they would not be fewer.
    pub fn compress_if_smaller(
        &mut self,
        plaintext: &[u8],
    ) -> Result<Option<Vec<u8>>, FormatError> {
        self.buffer.clear();
        self.buffer
            .reserve(zstd_safe::compress_bound(plaintext.len()));
        let size = self
            .inner
            .compress_to_buffer(plaintext, &mut self.buffer)
            .map_err(failed)?;
        Ok((size < plaintext.len()).then(|| self.buffer[..size].to_vec()))
    }
}

/// Memory that is reserved before the first byte was decompressed, whatever a header claims.
const RESERVE_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Window that a frame may ask for: 2^27 bytes, as the `zstd` program accepts by default.
const WINDOW_LOG_MAX: u32 = 27;

thread_local! {
    /// Making a context costs more than decompressing a small blob with it.
    static CONTEXT: RefCell<Option<zstd_safe::DCtx<'static>>> = const { RefCell::new(None) };
}

/// Decompresses one or more frames of at most `bytes_max` bytes together. More is an error, and no
/// more than that is ever held in memory, whatever the frame's header claims.
pub fn decompress(compressed: &[u8], bytes_max: u64) -> Result<Vec<u8>, FormatError> {
    let claimed = match zstd_safe::get_frame_content_size(compressed) {
        Ok(Some(size)) if size > bytes_max => return Err(too_large(size, bytes_max)),
        Ok(size) => size,
        Err(_) => return Err(failed("not a zstd frame")),
    };
    if let Some(size) = claimed.filter(|size| (1..=RESERVE_BYTES_MAX).contains(size))
        && let Some(plaintext) = decompress_at_once(compressed, size as usize)
    {
        return Ok(plaintext);
    }
    decompress_stream(compressed, claimed.unwrap_or(0), bytes_max)
}

/// Decompresses what has, all of it together, exactly this size. None is no verdict: several frames
/// may follow one another, and what is damaged is told by reading it as a stream.
fn decompress_at_once(compressed: &[u8], size: usize) -> Option<Vec<u8>> {
    let mut plaintext = Vec::new();
    decompress_into(compressed, size, &mut plaintext).ok()?;
    Some(plaintext)
}

/// Largest content, in bytes, that is unpacked in one go by the context that is kept.
pub(crate) const REUSED_BYTES_MAX: usize = RESERVE_BYTES_MAX as usize;

/// Decompresses what has exactly `length` bytes, at most [`REUSED_BYTES_MAX`], into `plaintext`, whose
/// memory is used again. Nothing is ever written beyond that memory.
pub(crate) fn decompress_into(
    compressed: &[u8],
    length: usize,
    plaintext: &mut Vec<u8>,
) -> Result<(), FormatError> {
    plaintext.clear();
    plaintext.reserve(length);
    let size = CONTEXT.with_borrow_mut(|context| {
        let context = match context {
            Some(context) => context,
            None => context.insert(
                zstd_safe::DCtx::try_create().ok_or_else(|| failed("no memory for a context"))?,
            ),
        };
        let result = context.decompress(plaintext, compressed);
        result.map_err(|code| failed(zstd_safe::get_error_name(code)))
    })?;
    if size != length {
        return Err(FormatError::Compression(format!(
            "{length} bytes were announced, {size} came"
        )));
    }
    Ok(())
}

fn decompress_stream(
    compressed: &[u8],
    claimed: u64,
    bytes_max: u64,
) -> Result<Vec<u8>, FormatError> {
    use std::io::Read;

    let mut decoder = zstd::stream::read::Decoder::with_buffer(compressed).map_err(failed)?;
    decoder.window_log_max(WINDOW_LOG_MAX).map_err(failed)?;
    let mut plaintext = Vec::with_capacity(claimed.min(RESERVE_BYTES_MAX) as usize);
    decoder
        .take(bytes_max.saturating_add(1))
        .read_to_end(&mut plaintext)
        .map_err(failed)?;
    if plaintext.len() as u64 > bytes_max {
        return Err(too_large(plaintext.len() as u64, bytes_max));
    }
    Ok(plaintext)
}

fn too_large(bytes: u64, max: u64) -> FormatError {
    FormatError::TooLarge {
        what: "compressed content",
        bytes,
        max,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip_and_incompressible() {
        let mut compressor = Compressor::new(3).unwrap();
        let text = b"hello hello hello hello hello hello hello".repeat(10);
        let small = compressor.compress_if_smaller(&text).unwrap().unwrap();
        assert!(small.len() < text.len());
        assert_eq!(decompress(&small, text.len() as u64).unwrap(), text);
        assert_eq!(compressor.compress_if_smaller(b"ab").unwrap(), None);
    }

    #[test]
    fn bombs_and_garbage_are_refused() {
        let bomb = Compressor::new(3)
            .unwrap()
            .compress(&vec![0; 50_000_000])
            .unwrap();
        assert!(matches!(
            decompress(&bomb, 1000),
            Err(FormatError::TooLarge { .. })
        ));
        // A frame without its size in the header must stop at the limit as well.
        let stream = zstd::stream::encode_all(&vec![0; 5_000_000][..], 3).unwrap();
        assert!(matches!(
            decompress(&stream, 1000),
            Err(FormatError::TooLarge { .. })
        ));
        assert!(decompress(b"garbage", 1000).is_err());
        assert!(decompress(&bomb[..bomb.len() - 1], 50_000_000).is_err());
        assert!(decompress(b"", 1000).is_err());
    }

    #[test]
    fn frames_that_follow_one_another_are_all_read() {
        let mut compressor = Compressor::new(3).unwrap();
        let two = [b"first".repeat(100), b"second".repeat(100)];
        let frames = two
            .each_ref()
            .map(|text| compressor.compress(text).unwrap());
        assert_eq!(decompress(&frames.concat(), 2000).unwrap(), two.concat());
        assert!(matches!(
            decompress(&frames.concat(), 1000),
            Err(FormatError::TooLarge { .. })
        ));
        // What was refused leaves nothing behind for the next.
        for (frame, text) in frames.iter().zip(&two) {
            assert!(decompress(&frame[..frame.len() - 1], 2000).is_err());
            assert_eq!(decompress(frame, 2000).unwrap(), *text);
        }
    }
}
