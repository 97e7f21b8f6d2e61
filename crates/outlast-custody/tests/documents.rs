//! The examples of the documentation are policies.

#![allow(clippy::unwrap_used)]

use outlast_custody::Policy;
use serde::Deserialize;

const DOCUMENT: &str = include_str!("../../../docs/policy.md");

#[derive(Deserialize)]
struct Configuration {
    custody: Policy,
}

#[test]
fn every_example_is_a_policy() {
    let examples: Vec<_> = DOCUMENT
        .split("```toml\n")
        .skip(1)
        .map(|after| after.split("```").next().unwrap())
        .collect();
    assert!(examples.len() > 3);
    for example in examples {
        // As in the configuration, or the policy alone.
        let policy = if example.starts_with("[custody]") {
            toml::from_str::<Configuration>(example).map(|of| of.custody)
        } else {
            toml::from_str::<Policy>(example)
        };
        assert!(policy.is_ok(), "{example}\n{}", policy.unwrap_err());
    }
}
