//! What a crate reaches through everything that it uses.

use std::collections::{BTreeMap, BTreeSet};

use super::Violation;
use super::tables::Closure;
use crate::process;

/// Who uses whom, from `cargo tree`. Names only: a forbidden crate is forbidden in every version.
#[derive(Debug, Default)]
pub struct Graph {
    edges: BTreeMap<String, BTreeSet<String>>,
}

/// Asks cargo for the graph below a crate, with the normal dependencies only.
pub fn read(crate_name: &str) -> Result<Graph, String> {
    let text = process::capture(process::cargo(&[
        "tree",
        "--edges",
        "normal",
        "--package",
        crate_name,
        "--prefix",
        "depth",
        "--format",
        " {p}",
    ]))?;
    parse(&text).ok_or_else(|| format!("cargo tree of {crate_name} cannot be understood"))
}

/// Understands lines such as `2 hex v0.4.3 (*)`: depth, name, version.
pub fn parse(text: &str) -> Option<Graph> {
    let mut graph = Graph::default();
    let mut path: Vec<String> = Vec::new();
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let mut words = line.split_whitespace();
        let depth: usize = words.next()?.parse().ok()?;
        let name = words.next()?.to_string();
        if depth > path.len() {
            return None;
        }
        path.truncate(depth);
        if let Some(parent) = path.last() {
            graph
                .edges
                .entry(parent.clone())
                .or_default()
                .insert(name.clone());
        }
        graph.edges.entry(name.clone()).or_default();
        path.push(name);
    }
    (!graph.edges.is_empty()).then_some(graph)
}

impl Graph {
    /// Everything reached from `start`, each with one who uses it, without looking past `gateways`.
    fn reached(&self, start: &str, gateways: &[&str]) -> BTreeMap<String, String> {
        let mut reached = BTreeMap::new();
        let mut open = vec![start.to_string()];
        while let Some(name) = open.pop() {
            if gateways.contains(&name.as_str()) {
                continue;
            }
            for used in self.edges.get(&name).into_iter().flatten() {
                if !reached.contains_key(used) {
                    reached.insert(used.clone(), name.clone());
                    open.push(used.clone());
                }
            }
        }
        reached
    }
}

/// Compares what a crate reaches with what it may.
pub fn check(rule: &Closure, graph: &Graph) -> Vec<Violation> {
    let mut violations = Vec::new();
    if !graph.edges.contains_key(rule.crate_name) {
        let message = "the dependency graph does not contain the crate itself";
        return vec![Violation::new(rule.crate_name, message)];
    }
    for (name, user) in graph.reached(rule.crate_name, rule.gateways) {
        let is_gateway = rule.gateways.contains(&name.as_str());
        let forbidden = rule.never.iter().any(|list| list.contains(&name.as_str()));
        let unknown = rule.only.is_some_and(|only| !only.contains(&name.as_str()));
        if (forbidden || unknown) && !is_gateway {
            violations.push(Violation::new(
                rule.crate_name,
                format!("reaches {name} (through {user}), but {}", rule.promise),
            ));
        }
    }
    violations
}

#[cfg(test)]
mod tests {
    use super::*;

    const TREE: &str = "\
0 top v0.1.0 (/somewhere/top)
1 left v1.0.0
2 shared v1.2.3
1 tls v2.0.0
2 cipher v0.1.0
1 shared v1.2.3 (*)
";

    fn rule(never: &'static [&'static [&'static str]]) -> Closure {
        Closure {
            crate_name: "top",
            promise: "it must not",
            only: None,
            never,
            gateways: &[],
        }
    }

    #[test]
    fn a_forbidden_crate_far_below_is_found() {
        let graph = parse(TREE).expect("a tree");
        let found = check(&rule(&[&["shared"]]), &graph);
        assert_eq!(found.len(), 1);
        assert!(found[0].message.contains("reaches shared"));
        assert!(check(&rule(&[&["other"]]), &graph).is_empty());
    }

    #[test]
    fn ciphers_are_allowed_behind_the_gateway_only() {
        let graph = parse(TREE).expect("a tree");
        let inside = Closure {
            gateways: &["tls"],
            ..rule(&[&["cipher", "tls"]])
        };
        assert!(check(&inside, &graph).is_empty());

        let around = parse(&format!("{TREE}1 cipher v0.1.0\n")).expect("a tree");
        assert_eq!(check(&inside, &around).len(), 1);
    }

    #[test]
    fn a_crate_that_is_not_listed_is_found() {
        let graph = parse(TREE).expect("a tree");
        let closed = Closure {
            only: Some(&["left", "tls", "cipher"]),
            ..rule(&[])
        };
        let found = check(&closed, &graph);
        assert_eq!(found.len(), 1);
        assert!(found[0].message.contains("shared"));
    }

    #[test]
    fn a_tree_of_something_else_proves_nothing() {
        let graph = parse("0 other v1.0.0\n").expect("a tree");
        assert_eq!(check(&rule(&[]), &graph).len(), 1);
        assert!(parse("").is_none());
        assert!(parse("2 orphan v1.0.0\n").is_none());
    }
}
