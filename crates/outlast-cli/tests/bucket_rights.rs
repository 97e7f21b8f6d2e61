//! The policies that `bucket policy` prints, at a real Ceph: each role can do its work, and nothing else.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot be set up has failed"
)]

#[path = "../../outlast-store/tests/support/ceph.rs"]
mod ceph;
mod support;

use std::process::Output;

use ceph::{Ceph, ceph};
use outlast_object::{ObjectKind, ObjectName};
use outlast_store::{RestOptions, S3Credentials, S3Location, S3Store, Secret, Store};
use support::{OUTLAST, PASSWORD, World, texts};

const ROLES: [&str; 3] = ["writer", "renewer", "reader"];

struct Setting {
    world: World,
    ceph: &'static Ceph,
    bucket: S3Location,
}

impl Setting {
    /// A repository of the owner's in a bucket with Object Lock, and a user for each role.
    fn new(ceph: &'static Ceph) -> Self {
        let setting = Self {
            world: World::new(),
            ceph,
            bucket: ceph.fresh(),
        };
        setting.world.write("data/file", [7; 100_000]);
        setting.does("owner", &["-o", "s3.retention-days=2", "init"]);
        let place = setting.bucket.to_string();
        for role in ROLES {
            let print = ["bucket", "policy", &place, "--role", role];
            let policy = setting.does("owner", &[&print[..], &["--retention-days", "30"]].concat());
            ceph.user(&setting.login(role), &policy);
        }
        setting
    }

    /// The user of a role, who has no rights in the buckets of other tests.
    fn login(&self, role: &str) -> String {
        match role {
            "owner" => role.to_owned(),
            _ => format!("{role}-of-{}", self.bucket.bucket),
        }
    }

    fn tries(&self, user: &str, arguments: &[&str]) -> Output {
        let login = self.login(user);
        let mut command = self.world.bare_command(OUTLAST);
        command
            .env("RESTIC_REPOSITORY", self.bucket.to_string())
            .env("RESTIC_PASSWORD", PASSWORD)
            .env("AWS_ACCESS_KEY_ID", format!("{login}-key"))
            .env("AWS_SECRET_ACCESS_KEY", format!("{login}-secret"));
        // What the programs of others keep of the repository is not for this one.
        let output = command.arg("--no-cache").args(arguments).output();
        output.unwrap()
    }

    fn does(&self, user: &str, arguments: &[&str]) -> String {
        let output = self.tries(user, arguments);
        let succeeded = output.status.success();
        assert!(succeeded, "{user} {arguments:?}: {}", texts(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    fn fails(&self, user: &str, arguments: &[&str]) {
        let output = self.tries(user, arguments);
        let succeeded = output.status.success();
        assert!(!succeeded, "{user} {arguments:?}: {}", texts(&output));
    }

    /// Every object but locks, by key, with version and end of its retention.
    fn state(&self) -> Vec<(String, String, u64)> {
        // Not the owner of the bucket: what the writer wrote is the writer's at Ceph.
        let mut options = self.ceph.owner();
        options.credentials = Some(S3Credentials {
            access_key: format!("{}-key", self.login("reader")),
            secret_key: Secret::new(format!("{}-secret", self.login("reader"))),
            session_token: None,
        });
        let store = S3Store::new(&self.bucket, &options, &RestOptions::default());
        let store = store.unwrap();
        let mut names = Vec::new();
        for kind in ObjectKind::ALL {
            if kind != ObjectKind::Lock {
                let ids = store.list_all(kind).unwrap();
                names.extend(ids.into_iter().map(|info| ObjectName::new(kind, info.id)));
            }
        }
        let told = store.retention_of(&names).into_iter().map(|(name, told)| {
            let told = told.unwrap();
            let id = name.id().to_string();
            let place = match name.kind() {
                ObjectKind::Config => "config".to_owned(),
                ObjectKind::Pack => format!("data/{}/{id}", &id[..2]),
                kind => format!("{}/{id}", kind.folder()),
            };
            let key = format!("{}/{}/{place}", self.bucket.bucket, self.bucket.prefix);
            (key, told.version.unwrap(), told.retain_until.unwrap())
        });
        let mut all: Vec<_> = told.collect();
        all.sort();
        all
    }

    fn refused(&self, user: &str, path: &str, arguments: &[&str]) {
        let (status, answer) = self.ceph.answer_to(&self.login(user), path, arguments);
        let is_refusal = status == 403 && answer.contains("AccessDenied");
        assert!(is_refusal, "{user} {path} {arguments:?}: {status} {answer}");
    }
}

#[test]
fn each_role_does_its_work_with_the_rights_that_are_printed() {
    let Some(ceph) = ceph() else { return };
    let setting = Setting::new(ceph);
    let backup = ["-o", "s3.retention-days=2", "backup", "data"];
    setting.does("writer", &backup);
    setting.world.write("data/more", [8; 50_000]);
    setting.does("writer", &backup);
    assert!(
        setting
            .does("writer", &["snapshots"])
            .contains("2 snapshots")
    );

    let place = setting.bucket.to_string();
    let before = setting.state();
    let renew = ["bucket", "renew", &place, "--retention-days", "9"];
    let said = setting.does("renewer", &renew);
    assert!(
        said.contains(&format!("{} extended", before.len())),
        "{said}"
    );
    for ((key, version, until), now) in before.iter().zip(setting.state()) {
        assert_eq!((key, version), (&now.0, &now.1));
        assert!(now.2 > until + 6 * 24 * 60 * 60, "{key}");
    }

    // Also of what was covered since.
    for (key, _, _) in setting.state() {
        let arguments = ["-X", "PUT", "-d", "planted"];
        assert_eq!(ceph.answer_to("owner", &key, &arguments).0, 200);
        assert_eq!(ceph.answer_to("owner", &key, &["-X", "DELETE"]).0, 204);
    }
    let said = setting.does(
        "renewer",
        &["bucket", "renew", &place, "--retention-days", "20"],
    );
    assert!(said.contains("0 failed"), "{said}");
    setting.does("reader", &["--no-lock", "check", "--read-data"]);
    let restore = ["--no-lock", "restore", "latest", "--target", "restored"];
    setting.does("reader", &restore);
    let restored = |name: &str| std::fs::read(setting.world.join(name));
    assert_eq!(restored("restored/data/file").unwrap(), [7; 100_000]);
    assert_eq!(restored("restored/data/more").unwrap(), [8; 50_000]);
}

#[test]
fn no_role_does_anything_else() {
    let Some(ceph) = ceph() else { return };
    let setting = Setting::new(ceph);
    let (bucket, prefix) = (setting.bucket.bucket.clone(), setting.bucket.prefix.clone());
    setting.does("writer", &["-o", "s3.retention-days=2", "backup", "data"]);
    let elsewhere = format!("{bucket}/other/config");
    let put = ["-X", "PUT", "-d", "x"];
    assert_eq!(ceph.answer_to("owner", &elsewhere, &put).0, 200);
    let before = setting.state();
    for user in ROLES {
        for (key, version, _) in &before {
            let of_version = format!("{key}?versionId={version}");
            let bypass = [
                "-X",
                "DELETE",
                "-H",
                "x-amz-bypass-governance-retention: true",
            ];
            setting.refused(user, key, &["-X", "DELETE"]);
            setting.refused(user, &of_version, &["-X", "DELETE"]);
            setting.refused(user, &of_version, &bypass);
            setting.refused(
                user,
                &format!("{key}?acl="),
                &["-X", "PUT", "-H", "x-amz-acl: public-read"],
            );
            let hold = [
                "-X",
                "PUT",
                "-d",
                "<LegalHold><Status>ON</Status></LegalHold>",
            ];
            setting.refused(user, &format!("{key}?legal-hold="), &hold);
        }
        for (name, document) in [
            (
                "versioning",
                "<VersioningConfiguration><Status>Suspended</Status></VersioningConfiguration>",
            ),
            (
                "lifecycle",
                "<LifecycleConfiguration></LifecycleConfiguration>",
            ),
            ("policy", "{}"),
            (
                "object-lock",
                "<ObjectLockConfiguration></ObjectLockConfiguration>",
            ),
            ("acl", "<AccessControlPolicy></AccessControlPolicy>"),
        ] {
            setting.refused(
                user,
                &format!("{bucket}/?{name}="),
                &["-X", "PUT", "-d", document],
            );
        }
        setting.refused(user, &format!("{bucket}/?policy="), &["-X", "DELETE"]);
        setting.refused(user, &format!("{bucket}/"), &["-X", "DELETE"]);
        setting.refused(user, &elsewhere, &[]);
        setting.refused(user, &elsewhere, &put);
        setting.fails(user, &["forget", "latest"]);
    }
    let pack = before
        .iter()
        .find(|(key, _, _)| key.contains("/data/"))
        .unwrap();
    let packs = [pack.0.clone(), format!("{}?versionId={}", pack.0, pack.1)];
    for path in &packs {
        // Also of what he wrote himself.
        setting.refused("writer", path, &[]);
        setting.refused("renewer", path, &[]);
    }
    for user in ["renewer", "reader"] {
        for name in ["config", "data/00/x", "keys/x", "locks/x"] {
            setting.refused(user, &format!("{bucket}/{prefix}/{name}"), &put);
        }
    }
    for (key, _, _) in &before {
        setting.refused("renewer", key, &[]);
        let retain = ["-X", "PUT", "-d", "<Retention></Retention>"];
        setting.refused("reader", &format!("{key}?retention="), &retain);
    }
    setting.fails(
        "writer",
        &["--no-lock", "restore", "latest", "--target", "no"],
    );
    setting.fails("renewer", &["--no-lock", "snapshots"]);
    setting.fails("reader", &["-o", "s3.retention-days=2", "backup", "data"]);
    assert_eq!(setting.state(), before);
}
