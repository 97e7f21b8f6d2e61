//! The examples of the documentation are policies.

#![allow(clippy::unwrap_used)]

use outlast_custody::Policy;

const DOCUMENT: &str = include_str!("../../../docs/policy.md");

#[test]
fn every_example_is_a_policy() {
    let examples: Vec<_> = DOCUMENT
        .split("```toml\n")
        .skip(1)
        .map(|after| after.split("```").next().unwrap())
        .collect();
    assert!(examples.len() > 3);
    for example in examples {
        let policy: Result<Policy, _> = toml::from_str(example);
        assert!(policy.is_ok(), "{example}\n{}", policy.unwrap_err());
    }
}
