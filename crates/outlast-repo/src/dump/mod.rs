//! Writing the content of a file, or a directory as an archive, to a stream.
//!
//! A stream cannot be taken back, so the first damage ends it: what was written is visibly cut
//! short, and the error names the file.

mod stream;
mod tar;
mod zip;

use std::io::Write;
use std::path::{Path, PathBuf};

use outlast_format::Node;
use outlast_object::Id;

use crate::{Cancel, RepoError, Repository, WalkEntry, find_entry};
use stream::{Entries, Item, stream_items};

/// How a directory is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ArchiveFormat {
    /// POSIX tar with extended headers: all metadata, but hard links become files of their own.
    #[default]
    Tar,
    /// Zip: files, directories and symbolic links with their permissions.
    Zip,
}

/// What is at a path that is to be dumped.
#[derive(Debug)]
pub enum DumpTarget {
    /// A file, whose bare content is written.
    File(Box<Node>),
    /// A directory and its path; it is written as an archive.
    Directory(PathBuf, Id),
}

/// Finds what is at `path` beneath the tree `root`. What is neither a file nor a directory is
/// refused.
pub fn find_dump_target(
    repository: &Repository,
    root: Id,
    path: &Path,
) -> Result<DumpTarget, RepoError> {
    let Some(node) = find_entry(repository, root, path)? else {
        return Ok(DumpTarget::Directory(PathBuf::from("/"), root));
    };
    match (node.is_file(), node.is_directory(), node.subtree) {
        (true, ..) => Ok(DumpTarget::File(Box::new(node))),
        (_, true, Some(tree)) => Ok(DumpTarget::Directory(Path::new("/").join(path), tree)),
        _ => Err(RepoError::Selection(format!(
            "{} is a {}, neither a file nor a directory",
            path.display(),
            node.kind
        ))),
    }
}

/// Writes the content of a file. Gives the number of bytes.
pub fn dump_file(
    repository: &Repository,
    path: &Path,
    node: &Node,
    output: &mut dyn Write,
    cancel: &Cancel,
) -> Result<u64, RepoError> {
    let entry = WalkEntry {
        path: path.to_owned(),
        node: node.clone(),
        tree: Id::default(),
        depth: 0,
    };
    let mut writer = Bare { output, bytes: 0 };
    let entries = Entries::One(Box::new(entry));
    stream_items(repository, cancel, entries, |item| writer.take(item))?;
    writer.output.flush().map_err(output_error)?;
    Ok(writer.bytes)
}

/// Writes a directory and all beneath it as an archive; its entries are named by their paths in the
/// snapshot, without the leading `/`.
pub fn dump_directory(
    repository: &Repository,
    path: &Path,
    tree: Id,
    format: ArchiveFormat,
    output: &mut dyn Write,
    cancel: &Cancel,
) -> Result<(), RepoError> {
    let entries = Entries::Beneath(path, tree);
    match format {
        ArchiveFormat::Tar => {
            let mut writer = tar::TarWriter::new(output);
            stream_items(repository, cancel, entries, |item| writer.take(item))?;
            writer.finish()
        }
        ArchiveFormat::Zip => {
            let mut writer = zip::ZipArchive::new(output);
            stream_items(repository, cancel, entries, |item| writer.take(item))?;
            writer.finish()
        }
    }
}

struct Bare<'a> {
    output: &'a mut dyn Write,
    bytes: u64,
}

impl Bare<'_> {
    fn take(&mut self, item: Item<'_>) -> Result<(), RepoError> {
        if let Item::Data(bytes) = item {
            self.output.write_all(bytes).map_err(output_error)?;
            self.bytes += bytes.len() as u64;
        }
        Ok(())
    }
}

fn output_error(source: std::io::Error) -> RepoError {
    RepoError::Io {
        operation: "write the output".to_owned(),
        source,
    }
}
