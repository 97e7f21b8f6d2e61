//! Mounting for real and comparing what is seen with what was backed up.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    dead_code,
    reason = "what was not tested must be seen"
)]

#[path = "../../outlast-repo/tests/handmade/compare.rs"]
mod compare;
#[path = "../../outlast-repo/tests/handmade/tree.rs"]
mod tree;

use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::channel;

use compare::assert_same;
use outlast_format::{BlobKind, ScryptCost, Time};
use outlast_object::ObjectName;
use outlast_ops::{MountOptions, mount_repository};
use outlast_repo::{
    BackupOptions, Cancel, ChangeDetection, Environment, InitOptions, NoObserver, Notice,
    OpenOptions, RepoError, Repository, StoredSnapshot, backup,
};
use outlast_source::{FileTree, FileTreeOptions};
use outlast_store::MemoryStore;

struct Sample {
    store: Arc<MemoryStore>,
    repository: Arc<Repository>,
    folder: tempfile::TempDir,
}

impl Sample {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        tree::make_tree(&folder.path().join("source"));
        fs::create_dir(folder.path().join("mount")).unwrap();
        let store = Arc::new(MemoryStore::new());
        let init = InitOptions::new(ScryptCost::RANDOM_PASSWORD);
        let (environment, options) = (Environment::quiet(), OpenOptions::default());
        let repository =
            Repository::init(store.clone(), environment, b"x", &init, options).unwrap();
        Self {
            store,
            repository: Arc::new(repository),
            folder,
        }
    }

    fn source(&self) -> PathBuf {
        self.folder.path().join("source")
    }

    fn mountpoint(&self) -> PathBuf {
        self.folder.path().join("mount")
    }

    fn back_up(&self, seconds: i64, tag: &str) -> String {
        let source = FileTree::new(&[self.source()], FileTreeOptions::default()).unwrap();
        let options = BackupOptions {
            time: Time::utc(seconds, 0),
            hostname: "here".to_owned(),
            tags: vec![tag.to_owned()],
            paths: Vec::new(),
            excludes: Vec::new(),
            parent: None,
            detection: ChangeDetection::default(),
            skip_if_unchanged: false,
            dry_run: false,
            read_concurrency: None,
            adopt_packs: false,
            program_version: String::new(),
        };
        let cancel = Cancel::new();
        let outcome = backup(&self.repository, &source, &options, &NoObserver, &cancel).unwrap();
        outcome.snapshot.unwrap().0.short()
    }

    /// Mounts, looks with `work`, and unmounts. `false` where nothing can be mounted here.
    fn mounted(&self, options: &MountOptions, work: impl FnOnce(&Path)) -> bool {
        if !Path::new("/dev/fuse").exists() {
            eprintln!("SKIPPED: there is no /dev/fuse here");
            return false;
        }
        let cancel = Cancel::new();
        let (sender, ready) = channel();
        let (repository, mountpoint) = (Arc::clone(&self.repository), self.mountpoint());
        let from = Arc::clone(&self.repository);
        let load = Box::new(move || {
            let snapshots = from.load_snapshots(&Cancel::new())?;
            Ok(snapshots.into_iter().map(StoredSnapshot::from).collect())
        });
        let (stop, options) = (cancel.clone(), options.clone());
        let server = std::thread::spawn(move || {
            let ready = || sender.send(()).unwrap();
            mount_repository(repository, load, &mountpoint, &options, &stop, ready)
        });
        if ready.recv().is_err() {
            let error = server.join().unwrap().unwrap_err();
            eprintln!("SKIPPED: FUSE does not work here: {error}");
            return false;
        }
        let mountpoint = self.mountpoint();
        let looked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| work(&mountpoint)));
        cancel.cancel();
        let served = server.join().unwrap();
        if let Err(panic) = looked {
            std::panic::resume_unwind(panic);
        }
        served.unwrap();
        assert!(fs::read_dir(&mountpoint).unwrap().next().is_none());
        true
    }
}

fn names(path: &Path) -> Vec<String> {
    let entries = fs::read_dir(path).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn a_mount_shows_what_was_backed_up() {
    let sample = Sample::new();
    let first = sample.back_up(1_700_000_000, "daily");
    let second = sample.back_up(1_700_000_001, "daily");
    let source = sample.source();
    let inside = source.strip_prefix("/").unwrap();
    sample.mounted(&MountOptions::default(), |mountpoint| {
        assert_eq!(names(mountpoint), ["hosts", "ids", "snapshots", "tags"]);
        let mut ids = vec![first.clone(), second.clone()];
        ids.sort();
        assert_eq!(names(&mountpoint.join("ids")), ids);
        let times = ["2023-11-14T22:13:20Z", "2023-11-14T22:13:21Z", "latest"];
        assert_eq!(names(&mountpoint.join("snapshots")), times);
        assert_eq!(names(&mountpoint.join("tags")), ["daily"]);
        let latest = fs::read_link(mountpoint.join("tags/daily/latest")).unwrap();
        assert_eq!(latest, Path::new(times[1]));

        assert_same(&source, &mountpoint.join("ids").join(&first).join(inside));
        assert_same(&source, &mountpoint.join("hosts/here/latest").join(inside));

        // Reading in the middle and across chunks.
        let big = mountpoint
            .join("snapshots/latest")
            .join(inside)
            .join("dir/big");
        let expected = fs::read(source.join("dir/big")).unwrap();
        let file = fs::File::open(&big).unwrap();
        for (offset, length) in [(0, 1), (1_000_000, 3_000_000), (9 * 1024 * 1024 - 5, 100)] {
            let mut bytes = vec![0; length];
            let count = file.read_at(&mut bytes, offset as u64).unwrap();
            let end = expected.len().min(offset + count);
            assert!(count > 0 && bytes[..count] == expected[offset..end]);
        }
        assert!(fs::metadata(mountpoint.join("ids/nothing")).is_err());
        // Nothing can be written.
        assert!(fs::write(&big, "x").is_err());
        assert!(fs::create_dir(mountpoint.join("new")).is_err());
        assert!(fs::remove_file(&big).is_err());
    });
}

#[test]
fn damage_is_an_error_where_it_is_and_nowhere_else() {
    let notices = Arc::new(parking_lot::Mutex::new(Vec::<Notice>::new()));
    let sample = Sample::new();
    sample.back_up(1_700_000_000, "x");
    // Flip a bit in the first blob of every data pack, and damage no tree.
    let mut packs = std::collections::HashSet::new();
    for location in sample.repository.index().iter() {
        let blob = location.blob;
        if blob.handle.kind == BlobKind::Data && packs.insert(location.pack_id) {
            let name = ObjectName::pack(location.pack_id);
            let mut bytes = sample.store.contents()[&name].to_vec();
            bytes[blob.offset as usize + 40] ^= 1;
            sample.store.replace(&name, bytes);
        }
    }
    let environment = Environment::of_this_process(notices.clone());
    let options = OpenOptions::default();
    let repository = Repository::open(sample.store.clone(), environment, b"x", options).unwrap();
    repository.load_index(&Cancel::new()).unwrap();
    let sample = Sample {
        repository: Arc::new(repository),
        ..sample
    };
    let source = sample.source();
    let inside = source.strip_prefix("/").unwrap();
    let options = MountOptions {
        owner_root: true,
        path_templates: vec!["all/%I".to_owned(), "%h/%T".to_owned()],
        time_template: "2006-01".to_owned(),
        ..MountOptions::default()
    };
    let mut failures = 0;
    let mounted = sample.mounted(&options, |mountpoint| {
        let root = mountpoint.join("here/2023-11").join(inside);
        for path in compare::picture(&source).into_keys() {
            let metadata = fs::symlink_metadata(root.join(&path)).unwrap();
            assert_eq!((metadata.uid(), metadata.gid()), (0, 0));
            if metadata.is_file() {
                match fs::read(root.join(&path)) {
                    Ok(bytes) => assert!(bytes == fs::read(source.join(&path)).unwrap()),
                    Err(error) => {
                        assert_eq!(error.raw_os_error(), Some(5), "{error}");
                        failures += 1;
                    }
                }
            }
        }
    });
    if mounted {
        assert!(failures > 0);
        let texts: Vec<String> = notices.lock().iter().map(Notice::to_string).collect();
        assert!(
            texts.iter().any(|text| text.contains("data blob")),
            "{texts:?}"
        );
    }
}

#[test]
fn what_cannot_be_mounted_is_refused() {
    let sample = Sample::new();
    let refuse = |mountpoint: &Path, options: &MountOptions| {
        let load = Box::new(|| Ok(Vec::new()));
        let (repository, cancel) = (Arc::clone(&sample.repository), Cancel::new());
        let ready = || panic!("it was mounted");
        mount_repository(repository, load, mountpoint, options, &cancel, ready).unwrap_err()
    };
    let options = MountOptions::default();
    let error = refuse(&sample.folder.path().join("nowhere"), &options);
    assert!(matches!(error, RepoError::Io { .. }));
    let error = refuse(&sample.source().join("dir/big"), &options);
    assert!(matches!(error, RepoError::Refused(_)));
    for time_template in ["", "/2006", "2006/"] {
        let options = MountOptions {
            time_template: time_template.to_owned(),
            ..MountOptions::default()
        };
        let error = refuse(&sample.mountpoint(), &options);
        assert!(matches!(error, RepoError::Refused(_)));
    }
}
