//! Showing a repository's snapshots as a read-only directory.
//!
//! The layout is restic's: `ids/`, `snapshots/`, `hosts/` and `tags/` with a directory for each
//! snapshot and links named `latest`. Trees and files are read when somebody looks at them. What is
//! damaged is an input/output error to whoever reads it, and a notice.

mod cache;
mod content;
mod filesystem;
mod go_time;
mod inodes;
mod layout;

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use fuser::{Config, MountOption, Session, SessionACL};
use outlast_repo::{Cancel, RepoError, Repository, StoredSnapshot};

use content::Contents;
use filesystem::SnapshotFilesystem;
use layout::Layout;

/// Threads that answer the kernel.
const THREADS: usize = 4;
/// How often a request to stop is looked for.
const POLL: Duration = Duration::from_millis(50);

/// Loads the snapshots that are shown, and the index that they need. Called at first and then about
/// once a minute while somebody looks.
pub type LoadSnapshots = Box<dyn Fn() -> Result<Vec<StoredSnapshot>, RepoError> + Send + Sync>;

/// How a repository is mounted.
#[derive(Debug, Clone)]
pub struct MountOptions {
    /// Root owns everything.
    pub owner_root: bool,
    /// Other users may look, too.
    pub allow_other: bool,
    /// With `allow_other`: whatever the permissions say.
    pub no_default_permissions: bool,
    /// Where snapshots are shown: `%i` and `%I` stand for the id, `%u` for the user, `%h` for the
    /// host, `%t` for each tag and `%T` for the time.
    pub path_templates: Vec<String>,
    /// How times are written, as Go's `time.Format` takes it.
    pub time_template: String,
}

impl Default for MountOptions {
    fn default() -> Self {
        let templates = ["ids/%i", "snapshots/%T", "hosts/%h/%T", "tags/%t/%T"];
        Self {
            owner_root: false,
            allow_other: false,
            no_default_permissions: false,
            path_templates: templates.map(str::to_owned).to_vec(),
            time_template: go_time::RFC3339.to_owned(),
        }
    }
}

impl MountOptions {
    fn lay_out(&self, snapshots: Vec<StoredSnapshot>) -> Layout {
        Layout::new(snapshots, &self.path_templates, &self.time_template)
    }

    fn check(&self) -> Result<(), RepoError> {
        let template = &self.time_template;
        if template.is_empty() || template.starts_with('/') || template.ends_with('/') {
            return Err(RepoError::Refused(
                "the template for times must neither be empty nor begin or end with /".to_owned(),
            ));
        }
        Ok(())
    }
}

fn failed(operation: &str, mountpoint: &Path, source: std::io::Error) -> RepoError {
    RepoError::Io {
        operation: format!("{operation} {}", mountpoint.display()),
        source,
    }
}

/// Mounts the repository at `mountpoint` and serves it until it is unmounted or `cancel` is set,
/// which unmounts it. `ready` is called once it can be used. The caller holds the lock.
pub fn mount_repository(
    repository: Arc<Repository>,
    load: LoadSnapshots,
    mountpoint: &Path,
    options: &MountOptions,
    cancel: &Cancel,
    ready: impl FnOnce(),
) -> Result<(), RepoError> {
    options.check()?;
    let metadata = std::fs::metadata(mountpoint);
    let metadata = metadata.map_err(|error| failed("look at", mountpoint, error))?;
    if !metadata.is_dir() {
        let text = format!("{} is not a directory", mountpoint.display());
        return Err(RepoError::Refused(text));
    }
    let layout = options.lay_out(load()?);
    let config = configuration(&repository, options);
    let contents = Contents::new(repository);
    let filesystem = SnapshotFilesystem::new(contents, options.clone(), load, layout);
    let mut session = Session::new(filesystem, mountpoint, &config)
        .map_err(|error| failed("mount at", mountpoint, error))?;
    let mut unmounter = session.unmount_callable();
    let (sender, ended) = channel();
    let server = std::thread::spawn(move || {
        let result = session.run();
        // The other side may have given up.
        let _ = sender.send(());
        result
    });
    ready();
    loop {
        match ended.recv_timeout(POLL) {
            Err(RecvTimeoutError::Timeout) if cancel.is_cancelled() => {
                let busy = "still in use; close what uses it and unmount it by hand:";
                unmounter
                    .unmount()
                    .map_err(|error| failed(busy, mountpoint, error))?;
                break;
            }
            Err(RecvTimeoutError::Timeout) => {}
            Ok(()) | Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    match server.join() {
        Ok(result) => result.map_err(|error| failed("serve", mountpoint, error)),
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

fn configuration(repository: &Repository, options: &MountOptions) -> Config {
    let id = repository.config().id.to_hex();
    let mut config = Config::default();
    config.mount_options = vec![
        MountOption::RO,
        MountOption::FSName(format!("outlast:{}", &id[..10])),
        MountOption::NoSuid,
        MountOption::NoDev,
    ];
    if options.allow_other {
        config.acl = SessionACL::All;
        if !options.no_default_permissions {
            config.mount_options.push(MountOption::DefaultPermissions);
        }
    }
    config.n_threads = Some(THREADS);
    config
}
