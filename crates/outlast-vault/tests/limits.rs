//! What bounds a token, and what the log says of refusals.

#![allow(clippy::unwrap_used)]

mod support;

use outlast_custody::{Event, Scope, Settings};
use outlast_object::{ObjectKind, ObjectName, hash};
use outlast_vault::{Caller, TokenLimits, Vault, VaultError};

use support::*;

fn limited(vault: &Vault, scopes: &[Scope], limits: TokenLimits) -> (String, String) {
    let made = vault.add_limited_token(&repository(), scopes, "test", limits);
    let made = made.unwrap();
    (made.token.to_string(), made.secret)
}

fn log_in(vault: &Vault, token: &(String, String)) -> Result<Caller, VaultError> {
    vault.authenticate(&token.0, &token.1)
}

#[test]
fn a_token_makes_no_more_requests_a_minute_than_it_may() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::new(folder.path());
    let (vault, _) = world.initialised();
    let limits = TokenLimits {
        requests_per_minute: 3,
        ..TokenLimits::default()
    };
    let token = limited(&vault, &[Scope::Append], limits);
    let other = limited(&vault, &[Scope::Append], TokenLimits::default());
    for _ in 0..3 {
        log_in(&vault, &token).unwrap();
    }
    let refused = log_in(&vault, &token);
    assert!(matches!(
        refused,
        Err(VaultError::TooMany { seconds: 1..=60 })
    ));
    // Guesses count for nothing against whoever has the token, and others go on.
    let wrong = (token.0.clone(), "wrong".to_owned());
    assert!(matches!(
        log_in(&vault, &wrong),
        Err(VaultError::Unauthorised)
    ));
    for _ in 0..10 {
        log_in(&vault, &other).unwrap();
    }
    world.clocks.pass(61);
    log_in(&vault, &token).unwrap();
}

#[test]
fn a_token_puts_no_more_a_day_than_it_may() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::new(folder.path());
    let (vault, _) = world.initialised();
    let limits = TokenLimits {
        put_bytes_daily: 2500,
        ..TokenLimits::default()
    };
    let token = limited(&vault, &[Scope::Append], limits);
    let caller = log_in(&vault, &token).unwrap();
    put(&vault, &caller, &pack(1, 1000), ObjectKind::Pack).unwrap();
    // What is refused for another reason costs nothing.
    let wrong = put_as(
        &vault,
        &caller,
        &pack(2, 1000),
        ObjectKind::Pack,
        hash(b"x"),
    );
    assert!(matches!(wrong, Err(VaultError::Shape(_))));
    put(&vault, &caller, &pack(2, 1000), ObjectKind::Pack).unwrap();
    // What is there already costs nothing either.
    put(&vault, &caller, &pack(2, 1000), ObjectKind::Pack).unwrap();
    let full = put(&vault, &caller, &pack(3, 1000), ObjectKind::Pack);
    assert!(matches!(full, Err(VaultError::Full(_))), "{full:?}");
    put(&vault, &caller, &pack(4, 500), ObjectKind::Pack).unwrap();
    world.clocks.pass(DAY + 200);
    put(&vault, &caller, &pack(3, 1000), ObjectKind::Pack).unwrap();
}

#[test]
fn an_append_token_reads_as_much_of_packs_as_is_set() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::new(folder.path());
    let (vault, append) = world.initialised();
    let bytes = pack(1, 1000);
    put(&vault, &append, &bytes, ObjectKind::Pack).unwrap();
    let name = ObjectName::pack(hash(&bytes));
    let view = vault.view(&append).unwrap();
    let refused = |outcome: Result<(), VaultError>| {
        assert!(
            matches!(outcome, Err(VaultError::Forbidden(_))),
            "{outcome:?}"
        );
    };
    refused(vault.read(&view, &name).map(drop));
    refused(vault.read_range(&view, &name, 0, 1).map(drop));
    let metered = Settings {
        append_read_bytes_daily: 1500,
        ..settings()
    };
    vault.set_repository(&repository(), metered).unwrap();
    assert_eq!(vault.read_range(&view, &name, 900, 500).unwrap().len(), 100);
    vault.read(&view, &name).unwrap();
    refused(vault.read(&view, &name).map(drop));
    vault.read_range(&view, &name, 0, 400).unwrap();
    refused(vault.read_range(&view, &name, 0, 1).map(drop));
    // Everything but packs is free, and so is reading with a token to read with.
    vault.read(&view, &ObjectName::CONFIG).unwrap();
    let reader = caller(&vault, &[Scope::Restore]);
    let all = vault.view(&reader).unwrap();
    for _ in 0..10 {
        vault.read(&all, &name).unwrap();
    }
    world.clocks.pass(DAY + 200);
    vault.read(&view, &name).unwrap();
}

#[test]
fn refusals_are_in_the_log_once_an_hour() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::new(folder.path());
    let (vault, _) = world.initialised();
    vault.tick().unwrap();
    let before = vault.log_size();
    for status in [401, 403, 403, 200, 404, 429, 507] {
        vault.count_answer(status);
    }
    vault.tick().unwrap();
    assert_eq!(
        vault.log_size(),
        before,
        "within the hour nothing is logged"
    );
    world.clocks.pass(3700);
    vault.tick().unwrap();
    vault.tick().unwrap();
    assert_eq!(vault.log_size(), before + 1);
    let mut counts = None;
    vault
        .entries(before, &mut |_, entry| {
            if let Event::Refusals(refusals) = entry.event {
                counts = Some(refusals.counts);
            }
            true
        })
        .unwrap();
    let counts: Vec<_> = counts.unwrap().into_iter().collect();
    let expected = [
        ("forbidden", 2),
        ("full", 1),
        ("too_many", 1),
        ("unauthorised", 1),
    ];
    assert_eq!(
        counts,
        expected.map(|(word, count)| (word.to_owned(), count))
    );
    // What was refused since is logged when the vault closes.
    vault.count_answer(401);
    vault.close().unwrap();
    assert_eq!(vault.log_size(), before + 2);
    assert_eq!(vault.refusals().get("unauthorised"), Some(&2));
}
