//! `dump`: a file, or a folder as an archive, to standard output or into a file.

use std::fs::File;
use std::io::{BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use outlast_ops::{Session, choose_snapshot};
use outlast_repo::{
    ArchiveFormat, DumpTarget, RepoError, dump_directory, dump_file, find_dump_target,
};

use crate::args::FilterArguments;
use crate::context::Context;
use crate::exit::{self, Failure};

/// Arguments of `dump`.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    filter: FilterArguments,
    /// Form of archives: tar or zip
    #[arg(short, long, default_value = "tar", value_name = "FORMAT")]
    archive: String,
    /// Write into this file
    #[arg(short, long, value_name = "PATH")]
    target: Option<PathBuf>,
    /// Snapshot, and the path in it; `/` is all of it
    #[arg(value_name = "SNAPSHOT FILE")]
    what: Vec<String>,
}

/// Writes a file or an archive.
pub fn run(context: &Context, arguments: &Arguments) -> Result<u8, Failure> {
    let [snapshot, path] = arguments.what.as_slice() else {
        return Err(Failure::new("no file and no snapshot ID specified"));
    };
    let format = match arguments.archive.as_str() {
        "tar" => ArchiveFormat::Tar,
        "zip" => ArchiveFormat::Zip,
        other => {
            return Err(Failure::new(format!("unknown archive format {other:?}"))
                .hint("there are tar and zip"));
        }
    };
    let session = context.open()?;
    let _lock = session.lock_for_reading()?;
    let chosen = choose_snapshot(&session, snapshot, &arguments.filter.filter())?;
    session.load_index()?;
    let root = chosen.tree(&session)?;
    let path = Path::new(path);
    let target = find_dump_target(session.repository(), root, path)?;
    if let Some(file) = &arguments.target {
        let output = File::create(file).map_err(|error| {
            Failure::new(format!("{} cannot be written: {error}", file.display()))
        })?;
        let mut writer = BufWriter::new(output);
        write(&session, path, target, format, &mut writer)?;
        let output = writer
            .into_inner()
            .map_err(std::io::IntoInnerError::into_error)?;
        output.sync_all()?;
        return Ok(exit::OK);
    }
    let mut stdout = std::io::stdout().lock();
    if stdout.is_terminal() && matches!(target, DumpTarget::Directory(..)) {
        return Err(Failure::new("an archive is not written to a terminal")
            .hint("use --target, or send the output to a file or a program"));
    }
    match write(&session, path, target, format, &mut stdout) {
        Err(RepoError::Io { source, .. }) if source.kind() == std::io::ErrorKind::BrokenPipe => {
            // The reader has gone away, which is how such pipes end; nobody needs to be told.
            Ok(exit::OK)
        }
        result => result.map(|()| exit::OK).map_err(Failure::from),
    }
}

fn write(
    session: &Session,
    path: &Path,
    target: DumpTarget,
    format: ArchiveFormat,
    output: &mut dyn Write,
) -> Result<(), RepoError> {
    let (repository, cancel) = (session.repository(), session.cancel());
    match target {
        DumpTarget::File(node) => {
            dump_file(repository, path, &node, output, cancel)?;
        }
        DumpTarget::Directory(path, tree) => {
            dump_directory(repository, &path, tree, format, output, cancel)?;
        }
    }
    Ok(())
}
