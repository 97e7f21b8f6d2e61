//! What is backed up: file trees, streams and commands; and putting them back.
//!
//! The port is [`Source`]: a tree of directories whose entries are listed, looked at and opened one
//! by one, so that neither a large directory nor a large tree needs much memory. [`FileTree`] and
//! [`StreamSource`] are sources.
//!
//! Invariants: this crate knows nothing of repositories; whatever is read may change or vanish while
//! it is read, and that is an error of the one entry, not of the whole.

mod error;
mod port;

mod exclude;
mod file_tree;
mod metadata;
mod stream;
mod targets;

pub mod pattern;
pub mod target;

pub use error::SourceError;
pub use exclude::Excludes;
pub use file_tree::{FileTree, FileTreeOptions, Warn};
pub use metadata::current_user_name;
pub use port::{Content, Found, Place, Source};
pub use stream::{CommandKiller, StreamSource};
pub use target::{MetadataOptions, Target, TargetFile, check_name};
pub use targets::clean;
