//! Dependencies: above the releases with known holes, and from one registry.

use semver::{Version, VersionReq};

/// Packages of the lock file that `deny.toml` bans, by its lines `{ crate = "name@<1.2.3", ...`.
/// cargo-deny says the same, where it is installed.
pub(crate) fn below_pins(deny: &str, lock: &str) -> Vec<String> {
    let packages = packages(lock);
    let mut complaints = Vec::new();
    let mut bans = 0;
    for line in deny.lines().map(str::trim) {
        let Some(spec) = line.strip_prefix("{ crate = \"").and_then(|rest| rest.split('"').next()) else {
            continue;
        };
        let Some((name, versions)) = spec.split_once('@') else { continue };
        let versions = VersionReq::parse(versions).expect("a range of versions");
        bans += 1;
        for (other, version) in &packages {
            if other == name && versions.matches(version) {
                complaints.push(format!(
                    "Cargo.lock: {name} {version} is banned ({versions}): cargo update -p {name}"
                ));
            }
        }
    }
    if bans == 0 {
        complaints.push("deny.toml: bans nothing any more: see what CI must refuse".to_owned());
    }
    complaints
}

fn packages(lock: &str) -> Vec<(String, Version)> {
    let value = |line: &str, key: &str| {
        line.strip_prefix(key).and_then(|rest| rest.strip_suffix('"')).map(str::to_owned)
    };
    let mut packages = Vec::new();
    let mut name = None;
    for line in lock.lines() {
        if let Some(found) = value(line, "name = \"") {
            name = Some(found);
        } else if let (Some(version), Some(name)) = (value(line, "version = \""), &name) {
            packages.push((name.clone(), Version::parse(&version).expect("a version")));
        }
    }
    packages
}

/// Packages that a fresh machine could not find.
pub(crate) fn other_registries(lock: &str) -> Vec<String> {
    let mut sources: Vec<_> = lock.lines().filter(|line| line.starts_with("source = ")).collect();
    sources.sort_unstable();
    sources.dedup();
    // One of them is where everything comes from; a second one, or none that is a registry, is not.
    let registries = sources.iter().filter(|line| line.starts_with("source = \"registry+")).count();
    if registries == sources.len() && registries <= 1 {
        return Vec::new();
    }
    sources.iter().map(|line| format!("Cargo.lock: {line}: depend on one registry's packages")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCK: &str =
        "[[package]]\nname = \"bytes\"\nversion = \"1.10.0\"\nsource = \"registry+https://x\"\n";
    const DENY: &str = "deny = [\n    { crate = \"bytes@<1.11.1\", reason = \"x\" },\n]";

    #[test]
    fn a_package_below_its_pin_is_found() {
        assert_eq!(below_pins(DENY, LOCK).len(), 1);
        assert_eq!(below_pins(DENY, &LOCK.replace("1.10.0", "1.11.1")).len(), 0);
    }

    #[test]
    fn a_list_that_bans_nothing_is_found() {
        assert_eq!(below_pins("", LOCK).len(), 1);
    }

    #[test]
    fn another_registry_is_found() {
        assert_eq!(other_registries(LOCK).len(), 0);
        let second = "source = \"registry+https://y\"\n";
        assert_eq!(other_registries(&format!("{LOCK}{second}")).len(), 2);
        assert_eq!(other_registries("source = \"git+https://x\"\n").len(), 1);
    }
}
