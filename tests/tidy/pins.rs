//! Dependencies: above the releases with known holes, and from one registry.

use semver::{Version, VersionReq};

/// Packages of the lock file that `deny.toml` bans, by its lines `{ crate = "name@<1.2.3", ...`, unless
/// nobody depends on them but the ban's `wrappers`. cargo-deny says the same, where it is installed.
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
        let wrappers = line.split_once("wrappers = [").and_then(|(_, rest)| rest.split(']').next());
        let wrappers: Vec<_> = wrappers.unwrap_or_default().split('"').skip(1).step_by(2).collect();
        bans += 1;
        for package in packages.iter().filter(|one| one.name == name && versions.matches(&one.version)) {
            let users: Vec<_> = packages.iter().filter(|other| other.needs(package)).collect();
            let all_may = users.iter().all(|user| wrappers.contains(&user.name));
            if wrappers.is_empty() || !all_may {
                let (version, users) = (&package.version, users.iter().map(|user| user.name));
                complaints.push(format!(
                    "Cargo.lock: {name} {version} is banned ({versions}), used by {:?}: cargo update -p {name}",
                    users.collect::<Vec<_>>()
                ));
            }
        }
    }
    if bans == 0 {
        complaints.push("deny.toml: bans nothing any more: see what CI must refuse".to_owned());
    }
    complaints
}

struct Package<'a> {
    name: &'a str,
    version: Version,
    /// `name`, or `name version` where there are several.
    dependencies: Vec<&'a str>,
}

impl Package<'_> {
    fn needs(&self, other: &Package<'_>) -> bool {
        self.dependencies.iter().any(|dependency| match dependency.split_once(' ') {
            Some((name, version)) => name == other.name && version == other.version.to_string(),
            None => *dependency == other.name,
        })
    }
}

fn packages(lock: &str) -> Vec<Package<'_>> {
    let blocks = lock.split("[[package]]").skip(1);
    let package = |block| {
        let value = |key| {
            let lines = str::lines(block);
            lines.filter_map(|line| line.strip_prefix(key)?.strip_suffix('"')).next()
        };
        let listed = str::lines(block).filter_map(|line| line.strip_prefix(" \"")?.strip_suffix("\","));
        Some(Package {
            name: value("name = \"")?,
            version: Version::parse(value("version = \"")?).expect("a version"),
            dependencies: listed.collect(),
        })
    };
    blocks.filter_map(package).collect()
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
    fn only_wrappers_may_have_what_is_banned() {
        let deny = DENY.replace(", reason", ", wrappers = [\"old\", \"older\"], reason");
        let user = |name, dependency| {
            format!(
                "[[package]]\nname = \"{name}\"\nversion = \"1.0.0\"\ndependencies = [\n \"{dependency}\",\n]\n"
            )
        };
        let of = |users: &[String]| below_pins(&deny, &format!("{LOCK}{}", users.concat())).len();
        assert_eq!(of(&[user("old", "bytes"), user("older", "bytes 1.10.0")]), 0);
        assert_eq!(of(&[user("old", "bytes"), user("new", "bytes 1.10.0")]), 1);
        assert_eq!(of(&[user("old", "bytes 1.10.0"), user("new", "bytes 1.11.1")]), 0);
        assert_eq!(of(&[user("new", "bytes")]), 1);
        assert_eq!(below_pins(DENY, &format!("{LOCK}{}", user("old", "bytes"))).len(), 1);
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
