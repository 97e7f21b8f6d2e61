//! Which crate of the workspace uses which.

use super::Violation;
use super::metadata::WorkspaceCrate;
use super::tables::Layer;

/// Every edge must be allowed by the table, and every crate be listed in it.
pub fn check(crates: &[WorkspaceCrate], layers: &[Layer]) -> Vec<Violation> {
    let mut violations = Vec::new();
    for one in crates {
        let Some(layer) = layers.iter().find(|layer| layer.crate_name == one.name) else {
            violations.push(Violation::new(
                &one.name,
                "this crate is not in the table of layers; say there what it may use",
            ));
            continue;
        };
        for used in &one.uses {
            // A crate may name itself to turn on a feature for its own tests.
            if used != &one.name && !layer.may_use.contains(&used.as_str()) {
                violations.push(Violation::new(
                    &one.name,
                    format!("must not use {used}: dependencies point downwards, by the table"),
                ));
            }
        }
    }
    violations
}

/// The table itself must point downwards: each row may name only rows above it.
pub fn check_table(layers: &[Layer]) -> Vec<Violation> {
    let mut violations = Vec::new();
    for (index, layer) in layers.iter().enumerate() {
        let above = &layers[..index];
        for used in layer.may_use {
            if !above.iter().any(|row| row.crate_name == *used) {
                violations.push(Violation::new(
                    layer.crate_name,
                    format!("the table lets it use {used}, which is not below it"),
                ));
            }
        }
    }
    violations
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAYERS: &[Layer] = &[
        Layer {
            crate_name: "low",
            may_use: &[],
        },
        Layer {
            crate_name: "high",
            may_use: &["low"],
        },
    ];

    fn made(name: &str, uses: &[&str]) -> WorkspaceCrate {
        WorkspaceCrate {
            name: name.to_string(),
            uses: uses.iter().map(ToString::to_string).collect(),
        }
    }

    #[test]
    fn edges_downwards_are_fine() {
        let crates = [made("low", &["low"]), made("high", &["low"])];
        assert!(check(&crates, LAYERS).is_empty());
        assert!(check_table(LAYERS).is_empty());
    }

    #[test]
    fn an_edge_upwards_is_found() {
        let found = check(&[made("low", &["high"])], LAYERS);
        assert_eq!(found.len(), 1);
        assert!(found[0].message.contains("must not use high"));
    }

    #[test]
    fn a_crate_without_a_place_is_found() {
        let found = check(&[made("new", &[])], LAYERS);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].place, "new");
    }

    #[test]
    fn a_table_that_points_upwards_is_found() {
        let upside_down: Vec<Layer> = LAYERS.iter().rev().copied().collect();
        assert_eq!(check_table(&upside_down).len(), 1);
    }
}
