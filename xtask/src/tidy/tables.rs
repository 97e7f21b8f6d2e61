//! What has been agreed: layers, closures, licences.

/// A crate of this workspace and the crates of the workspace that it may use.
#[derive(Debug, Clone, Copy)]
pub struct Layer {
    /// The crate.
    pub crate_name: &'static str,
    /// What it may depend on. Only rows above this one, so that dependencies point downwards.
    pub may_use: &'static [&'static str],
}

/// All crates, lowest first. A crate that is not listed is a violation: say where it belongs.
pub const LAYERS: &[Layer] = &[
    Layer {
        crate_name: "outlast-object",
        may_use: &[],
    },
    Layer {
        crate_name: "outlast-kernels",
        may_use: &[],
    },
    Layer {
        crate_name: "outlast-format",
        may_use: &["outlast-object", "outlast-kernels"],
    },
    Layer {
        crate_name: "outlast-log",
        may_use: &[],
    },
    Layer {
        crate_name: "outlast-custody",
        may_use: &["outlast-object", "outlast-log"],
    },
    Layer {
        crate_name: "outlast-store",
        may_use: &["outlast-object"],
    },
    // The source speaks of nodes, whose shape the format defines; it never sees a repository.
    Layer {
        crate_name: "outlast-source",
        may_use: &["outlast-object", "outlast-format"],
    },
    Layer {
        crate_name: "outlast-repo",
        may_use: &[
            "outlast-object",
            "outlast-format",
            "outlast-store",
            "outlast-source",
        ],
    },
    // The store is for its client alone: a vault uses the types and not that feature.
    Layer {
        crate_name: "outlast-wire",
        may_use: &[
            "outlast-object",
            "outlast-log",
            "outlast-custody",
            "outlast-store",
        ],
    },
    Layer {
        crate_name: "outlast-vault",
        may_use: &[
            "outlast-object",
            "outlast-log",
            "outlast-custody",
            "outlast-wire",
        ],
    },
    Layer {
        crate_name: "outlast-ops",
        may_use: &[
            "outlast-object",
            "outlast-format",
            "outlast-store",
            "outlast-source",
            "outlast-repo",
            "outlast-log",
            "outlast-custody",
            "outlast-wire",
        ],
    },
    Layer {
        crate_name: "outlast-cli",
        may_use: &[
            "outlast-object",
            "outlast-format",
            "outlast-store",
            "outlast-source",
            "outlast-repo",
            "outlast-log",
            "outlast-custody",
            "outlast-wire",
            "outlast-ops",
        ],
    },
    // For development only: it attacks what the others keep.
    Layer {
        crate_name: "outlast-sim",
        may_use: &[
            "outlast-object",
            "outlast-log",
            "outlast-custody",
            "outlast-vault",
        ],
    },
    Layer {
        crate_name: "xtask",
        may_use: &[],
    },
];

/// What a crate, with everything below it, may and may not contain.
#[derive(Debug, Clone, Copy)]
pub struct Closure {
    /// The crate at the top of the closure.
    pub crate_name: &'static str,
    /// Why, for the message.
    pub promise: &'static str,
    /// If given, the closure holds nothing but these.
    pub only: Option<&'static [&'static str]>,
    /// Crates that must not be reached.
    pub never: &'static [&'static [&'static str]],
    /// Crates behind which `never` does not apply: ciphers inside TLS.
    pub gateways: &'static [&'static str],
}

/// Crates that read or write files, sockets, clocks or randomness, or that wait.
const INPUT_OUTPUT: &[&str] = &[
    "async-std",
    "crossbeam-channel",
    "fuser",
    "getrandom",
    "hyper",
    "indicatif",
    "libc",
    "memmap2",
    "mio",
    "nix",
    "notify",
    "openssl",
    "rand",
    "reqwest",
    "rpassword",
    "rustix",
    "rustls",
    "signal-hook",
    "smol",
    "socket2",
    "tempfile",
    "tiny_http",
    "tokio",
    "ureq",
    "walkdir",
];

/// Crates that encrypt, decrypt, sign or derive keys.
const CRYPTOGRAPHY: &[&str] = &[
    "aead",
    "aes",
    "aes-gcm",
    "argon2",
    "aws-lc-rs",
    "blake2",
    "blake3",
    "chacha20",
    "chacha20poly1305",
    "cipher",
    "ctr",
    "ed25519-dalek",
    "hmac",
    "openssl",
    "p256",
    "pbkdf2",
    "poly1305",
    "ring",
    "rustls",
    "salsa20",
    "scrypt",
    "universal-hash",
];

/// Crates that know what is inside a repository.
const FORMAT: &[&str] = &["outlast-format", "zstd", "zstd-safe", "zstd-sys"];

/// Crates of the evidence side, which a restore must not need.
const EVIDENCE: &[&str] = &[
    "outlast-log",
    "outlast-custody",
    "outlast-wire",
    "outlast-vault",
    "outlast-watch",
];

/// What derives code at compile time, and the small helpers of the crates listed beside it.
const OBJECT_ONLY: &[&str] = &[
    "block-buffer",
    "cfg-if",
    "const-oid",
    "cpufeatures",
    "crypto-common",
    "digest",
    "hex",
    "hybrid-array",
    "itoa",
    "memchr",
    "outlast-object",
    "proc-macro2",
    "quote",
    "serde",
    "serde_core",
    "serde_derive",
    "serde_json",
    "sha2",
    "syn",
    "thiserror",
    "thiserror-impl",
    "typenum",
    "unicode-ident",
    "zmij",
];

/// As [`OBJECT_ONLY`], with the cryptography and compression that the format is made of.
const FORMAT_ONLY: &[&str] = &[
    "aes",
    "base64",
    "block-buffer",
    "cfg-if",
    "cipher",
    "cmov",
    "const-oid",
    "cpubits",
    "cpufeatures",
    "crypto-common",
    "ctr",
    "ctutils",
    "digest",
    "hex",
    "hmac",
    "hybrid-array",
    "inout",
    "itoa",
    "jiff",
    "jiff-core",
    "memchr",
    "outlast-format",
    "outlast-kernels",
    "outlast-object",
    "pbkdf2",
    "poly1305",
    "proc-macro2",
    "quote",
    "salsa20",
    "scrypt",
    "serde",
    "serde_core",
    "serde_derive",
    "serde_json",
    "sha2",
    "subtle",
    "syn",
    "thiserror",
    "thiserror-impl",
    "typenum",
    "unicode-ident",
    "universal-hash",
    "zeroize",
    "zeroize_derive",
    "zmij",
    "zstd",
    "zstd-safe",
    "zstd-sys",
];

/// The promises about what is reached. Rows of crates that do not exist yet wait for them.
pub const CLOSURES: &[Closure] = &[
    Closure {
        crate_name: "outlast-object",
        promise: "names and shapes need no cryptography but SHA-256, and no input or output",
        only: Some(OBJECT_ONLY),
        never: &[INPUT_OUTPUT, CRYPTOGRAPHY, FORMAT],
        gateways: &[],
    },
    Closure {
        crate_name: "outlast-format",
        promise: "the format is pure: no input, output, clock or randomness of its own",
        only: Some(FORMAT_ONLY),
        never: &[INPUT_OUTPUT],
        gateways: &[],
    },
    Closure {
        crate_name: "outlast-store",
        promise: "stores know no format and no keys; ciphers exist only inside TLS",
        only: None,
        never: &[CRYPTOGRAPHY, FORMAT],
        gateways: &["rustls"],
    },
    Closure {
        crate_name: "outlast-source",
        promise: "sources know no repository",
        only: None,
        never: &[
            EVIDENCE,
            &["outlast-repo", "outlast-store", "ureq", "rustls"],
        ],
        gateways: &[],
    },
    Closure {
        crate_name: "outlast-repo",
        promise: "a restore needs one copy and the key, and no other party",
        only: None,
        never: &[EVIDENCE],
        gateways: &[],
    },
    Closure {
        crate_name: "outlast-log",
        promise: "anybody can verify offline",
        only: None,
        never: &[INPUT_OUTPUT, FORMAT],
        gateways: &[],
    },
    Closure {
        crate_name: "outlast-custody",
        promise: "anybody can verify offline",
        only: None,
        never: &[INPUT_OUTPUT, FORMAT],
        gateways: &[],
    },
    Closure {
        crate_name: "outlast-wire",
        promise: "what vaults and clients say to each other needs no key of a repository, and clients \
                  no server",
        only: None,
        never: &[
            FORMAT,
            &[
                "outlast-repo",
                "outlast-source",
                "outlast-ops",
                "outlast-vault",
            ],
            &["hyper", "tokio", "redb"],
        ],
        gateways: &["rustls"],
    },
    Closure {
        crate_name: "outlast-vault",
        promise: "a vault is keyless: it contains nothing that could decrypt",
        only: None,
        never: &[
            FORMAT,
            // A vault calls nobody.
            &[
                "outlast-repo",
                "outlast-source",
                "outlast-ops",
                "outlast-store",
                "ureq",
            ],
            &["aes", "chacha20", "ctr", "poly1305", "scrypt"],
        ],
        gateways: &["rustls"],
    },
];

/// Licences of dependencies that we accept: permissive ones. `deny.toml` holds the same list.
pub const LICENCES_ALLOWED: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Crates that are known to be there in several incompatible versions, and who keeps the old one.
pub const DUPLICATES_KNOWN: &[(&str, &str)] = &[
    ("getrandom", "ring still uses 0.2"),
    (
        "synstructure",
        "what rcgen could read certificates with still uses 0.13; it is never compiled",
    ),
    (
        "syn",
        "some derive macros still use 2; only at compile time",
    ),
];
