//! What the serving process denies itself, beside what its service manager denies it.

use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, AccessNet, NetPort, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetError, RulesetStatus,
};
use outlast_vault::http::Listen;

/// The newest version of Landlock whose rules are written here. Older kernels enforce what they know.
const KNOWN: ABI = ABI::V5;

/// From now on this process and its threads reach the given folders and may listen at the given
/// ports, and nothing else of the file system or of TCP.
///
/// # Errors
/// Those of the system; a kernel without Landlock is none.
pub fn confine(
    folders: &[PathBuf],
    listens: impl IntoIterator<Item = Listen>,
) -> Result<RulesetStatus, RulesetError> {
    let mut ruleset = Ruleset::default()
        .handle_access(AccessFs::from_all(KNOWN))?
        .handle_access(AccessNet::from_all(KNOWN))?
        .create()?;
    let all = AccessFs::from_all(KNOWN) & !AccessFs::Execute;
    for folder in folders {
        if let Ok(file) = PathFd::new(folder) {
            ruleset = ruleset.add_rule(PathBeneath::new(file, all))?;
        }
    }
    for listen in listens {
        match listen {
            Listen::Tcp(address) => {
                let rule = NetPort::new(address.port(), AccessNet::BindTcp);
                ruleset = ruleset.add_rule(rule)?;
            }
            Listen::Unix(path) => {
                let folder = path.parent().unwrap_or(Path::new("/"));
                if let Ok(file) = PathFd::new(folder) {
                    ruleset = ruleset.add_rule(PathBeneath::new(file, all))?;
                }
            }
        }
    }
    Ok(ruleset.restrict_self()?.ruleset)
}

/// As many open files as the system lets this process have: connections need them.
pub fn raise_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limits = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limits.maximum,
        ..limits
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
}
