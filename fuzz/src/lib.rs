//! What is done with generated input: one function for each decoder.
//!
//! The libFuzzer targets in `fuzz_targets` and the short runner in `src/bin` share these bodies.
//! Each must return for every input, within bounded time and memory; where a decoder accepts
//! something, the body also checks that writing it and reading it again gives the same.
//!
//! Invariant: bodies depend on their input alone, so that a failure can be repeated.

mod chunking;
mod custody;
mod documents;
mod evidence;
mod kit;
mod limits;
mod mutate;
mod names;
#[path = "../../crates/outlast-cli/src/parse.rs"]
mod parse;
mod requests;
mod sealed;
mod seeds;
mod typed;

pub use chunking::chunker;
pub use custody::{kept_evidence, policy};
pub use documents::{config, index, key_file, lock, snapshot, tree};
pub use evidence::{batch, entry, invite, note, object_list, receipt, tile};
pub use kit::kit;
pub use limits::{blob, pack_header, shape, zstd};
pub use mutate::{Mutator, Random};
pub use names::{go_name, go_time, object_name, polynomial};
pub use requests::request;
pub use sealed::{envelope, unpacked};
pub use seeds::seeds;
pub use typed::{argument, bucket_page, keep_text, location, pattern, rest_listing, sftp_answer};

/// A decoder under test.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name, which is that of the libFuzzer target too.
    pub name: &'static str,
    /// Its body.
    pub body: fn(&[u8]),
}

/// All of them, but for the one that must fail.
pub const TARGETS: &[Target] = &[
    target("argument", argument),
    target("batch", batch),
    target("blob", blob),
    target("bucket_page", bucket_page),
    target("chunker", chunker),
    target("config", config),
    target("entry", entry),
    target("envelope", envelope),
    target("go_name", go_name),
    target("go_time", go_time),
    target("index", index),
    target("invite", invite),
    target("keep_text", keep_text),
    target("kept_evidence", kept_evidence),
    target("key_file", key_file),
    target("location", location),
    target("kit", kit),
    target("lock", lock),
    target("note", note),
    target("object_list", object_list),
    target("object_name", object_name),
    target("pack_header", pack_header),
    target("pattern", pattern),
    target("policy", policy),
    target("polynomial", polynomial),
    target("receipt", receipt),
    target("request", request),
    target("rest_listing", rest_listing),
    target("sftp_answer", sftp_answer),
    target("shape", shape),
    target("snapshot", snapshot),
    target("tile", tile),
    target("tree", tree),
    target("unpacked", unpacked),
    target("zstd", zstd),
];

/// A decoder with a planted fault. A run over it must fail, or failures are not being noticed.
pub const PLANTED: Target = target("planted", planted);

const fn target(name: &'static str, body: fn(&[u8])) -> Target {
    Target { name, body }
}

/// Believes a length in its input, as decoders must not.
pub fn planted(data: &[u8]) {
    if let Some((&length, rest)) = data.split_first() {
        let content = &rest[..usize::from(length)];
        std::hint::black_box(content);
    }
}

/// The key under which the inside of sealed things is generated.
fn key() -> outlast_format::MasterKey {
    let mut bytes = [0; outlast_format::MasterKey::LEN];
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = index as u8 + 1;
    }
    outlast_format::MasterKey::from_bytes(&bytes).expect("a key that is not zero")
}

/// An initialisation vector that is as good as any here.
const IV: [u8; 16] = [7; 16];
