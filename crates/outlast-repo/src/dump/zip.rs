//! Zip, written as a stream.

use std::io::Write;
use std::os::unix::ffi::OsStrExt;

use outlast_format::{NodeKind, Time};
use zip::write::{SimpleFileOptions, StreamWriter};
use zip::{CompressionMethod, DateTime, ZipWriter};

use super::output_error;
use super::stream::Item;
use crate::{RepoError, WalkEntry};

/// Files from this size on need the format's 64-bit fields.
const LARGE_BYTES: u64 = u32::MAX as u64;

/// Writes entries as they come.
pub(super) struct ZipArchive<'a> {
    /// `None` once it is finished.
    writer: Option<ZipWriter<StreamWriter<&'a mut dyn Write>>>,
}

impl Drop for ZipArchive<'_> {
    fn drop(&mut self) {
        // An archive that was given up must not look finished, but dropping the writer would try to
        // finish it, and print to standard error where that fails. Its buffers are let go instead.
        std::mem::forget(self.writer.take());
    }
}

fn zip_error(error: zip::result::ZipError) -> RepoError {
    match error {
        zip::result::ZipError::Io(source) => output_error(source),
        error => output_error(std::io::Error::other(error.to_string())),
    }
}

impl<'a> ZipArchive<'a> {
    pub(super) fn new(output: &'a mut dyn Write) -> Self {
        Self {
            writer: Some(ZipWriter::new_stream(output)),
        }
    }

    pub(super) fn take(&mut self, item: Item<'_>) -> Result<(), RepoError> {
        match item {
            Item::Entry(entry) => self.entry(entry),
            Item::Data(bytes) => match &mut self.writer {
                Some(writer) => writer.write_all(bytes).map_err(output_error),
                None => Ok(()),
            },
            Item::EndOfFile => Ok(()),
        }
    }

    pub(super) fn finish(mut self) -> Result<(), RepoError> {
        match self.writer.take() {
            Some(writer) => {
                let output = writer.finish().map_err(zip_error)?.into_inner();
                output.flush().map_err(output_error)
            }
            None => Ok(()),
        }
    }

    fn entry(&mut self, entry: &WalkEntry) -> Result<(), RepoError> {
        let Some(writer) = &mut self.writer else {
            return Ok(());
        };
        let node = &entry.node;
        let path = entry.path.as_os_str().as_bytes();
        let path = path.strip_prefix(b"/").unwrap_or(path);
        // Names in a zip file are text.
        let name = String::from_utf8_lossy(path).into_owned();
        let options = SimpleFileOptions::default()
            .unix_permissions(node.mode.permissions())
            .last_modified_time(zip_time(node.mtime));
        match node.kind {
            NodeKind::Directory => writer.add_directory(name, options),
            NodeKind::Symlink => {
                let target = String::from_utf8_lossy(&node.link_target).into_owned();
                writer.add_symlink(name, target, options)
            }
            NodeKind::File => {
                let options = options
                    .compression_method(CompressionMethod::Deflated)
                    .large_file(node.size >= LARGE_BYTES);
                writer.start_file(name, options)
            }
            // Zip has no word for the others.
            _ => return Ok(()),
        }
        .map_err(zip_error)
    }
}

/// The time in UTC to two seconds, from 1980 to 2107, which is all that the format can say.
fn zip_time(time: Time) -> DateTime {
    let civil = time.to_utc().civil();
    let year = u16::try_from(civil.year()).unwrap_or(0);
    let part = |number: i8| u8::try_from(number).unwrap_or(0);
    DateTime::from_date_and_time(
        year,
        part(civil.month()),
        part(civil.day()),
        part(civil.hour()),
        part(civil.minute()),
        part(civil.second()),
    )
    .unwrap_or_default()
}
