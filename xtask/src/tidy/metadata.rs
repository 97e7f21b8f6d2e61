//! What cargo says about the packages of this workspace.

use std::collections::BTreeSet;

use serde::Deserialize;

use crate::process;

/// A crate of this workspace with the workspace crates that it declares.
#[derive(Debug, Clone)]
pub struct WorkspaceCrate {
    /// Its name.
    pub name: String,
    /// The dependencies of every kind that are themselves crates of this workspace.
    pub uses: Vec<String>,
}

/// A package that came from a registry.
#[derive(Debug, Clone)]
pub struct Dependency {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The licence expression in its manifest, if it gives one.
    pub licence: Option<String>,
}

/// The output of `cargo metadata`, as far as we need it.
#[derive(Debug, Deserialize)]
pub struct Metadata {
    packages: Vec<Package>,
    workspace_members: BTreeSet<String>,
    resolve: Resolve,
}

#[derive(Debug, Deserialize)]
struct Package {
    id: String,
    name: String,
    version: String,
    license: Option<String>,
    dependencies: Vec<Declared>,
}

#[derive(Debug, Deserialize)]
struct Declared {
    name: String,
}

#[derive(Debug, Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Debug, Deserialize)]
struct Node {
    id: String,
}

/// Asks cargo, for the platform of this machine.
pub fn read() -> Result<Metadata, String> {
    let host = process::host_platform()?;
    let text = process::capture(process::cargo(&[
        "metadata",
        "--format-version",
        "1",
        "--filter-platform",
        &host,
    ]))?;
    serde_json::from_str(&text).map_err(|error| format!("cargo metadata: {error}"))
}

impl Metadata {
    /// The crates of this workspace.
    pub fn workspace_crates(&self) -> Vec<WorkspaceCrate> {
        let members: Vec<&Package> = self.members().collect();
        let names: BTreeSet<&str> = members
            .iter()
            .map(|package| package.name.as_str())
            .collect();
        members
            .iter()
            .map(|package| WorkspaceCrate {
                name: package.name.clone(),
                uses: package
                    .dependencies
                    .iter()
                    .filter(|declared| names.contains(declared.name.as_str()))
                    .map(|declared| declared.name.clone())
                    .collect(),
            })
            .collect()
    }

    /// Whether the workspace has a crate of this name.
    pub fn has_workspace_crate(&self, name: &str) -> bool {
        self.members().any(|package| package.name == name)
    }

    /// Everything that is not ours, tests and build scripts included.
    pub fn dependencies(&self) -> Vec<Dependency> {
        let resolved: BTreeSet<&str> = self
            .resolve
            .nodes
            .iter()
            .map(|node| node.id.as_str())
            .collect();
        self.packages
            .iter()
            .filter(|package| resolved.contains(package.id.as_str()))
            .filter(|package| !self.workspace_members.contains(&package.id))
            .map(|package| Dependency {
                name: package.name.clone(),
                version: package.version.clone(),
                licence: package.license.clone(),
            })
            .collect()
    }

    fn members(&self) -> impl Iterator<Item = &Package> {
        self.packages
            .iter()
            .filter(|package| self.workspace_members.contains(&package.id))
    }
}
