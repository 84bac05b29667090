//! Files that nothing compiles.

use std::collections::HashSet;

use crate::source::{File, Tree};

/// Folders of packages below the root.
const PACKAGES: [&[&str]; 2] = [&["perf"], &["examples", "raft_server"]];

/// Every Rust file is a target of cargo, or a module of one.
pub(crate) fn dead_files(tree: &Tree) -> Vec<String> {
    let files: Vec<_> = tree.rust().collect();
    let mut alive = HashSet::new();
    let mut open: Vec<_> =
        files.iter().filter(|file| is_root(&file.path)).map(|file| file.path.clone()).collect();
    while let Some(path) = open.pop() {
        let Some(file) = files.iter().find(|file| file.path == path) else { continue };
        if alive.insert(path) {
            open.extend(children(file));
        }
    }
    let dead = files.iter().filter(|file| !alive.contains(&file.path));
    dead.map(|file| file.complain(1, "nothing compiles this file: declare it with `mod`, or delete it"))
        .collect()
}

/// What cargo finds by itself (and, for fuzzing, what [`unlisted_targets`] looks after).
fn is_root(path: &str) -> bool {
    let parts: Vec<_> = path.split('/').collect();
    // The other packages of the workspace are laid out as the root is.
    let parts = PACKAGES.iter().find_map(|package| parts.strip_prefix(*package)).unwrap_or(&parts);
    matches!(
        parts,
        ["src", "lib.rs" | "main.rs"]
            | ["build.rs"]
            | ["src", "bin", _]
            | ["tests" | "benches" | "examples", _]
            | ["tests" | "benches" | "examples", _, "main.rs"]
            | ["tests", "fuzz", "fuzz_targets", _]
    )
}

/// The files that a file's `mod` lines lead to; each in both places where it may be.
fn children(file: &File) -> Vec<String> {
    let (folder, name) = file.path.rsplit_once('/').expect("no Rust file lies in the root");
    let own = if matches!(name, "mod.rs" | "lib.rs" | "main.rs") || is_root(&file.path) {
        folder.to_owned()
    } else {
        format!("{folder}/{}", name.trim_end_matches(".rs"))
    };
    let mut found = Vec::new();
    let mut path_attribute = None;
    for line in file.text.lines().map(str::trim) {
        if let Some(path) = line.strip_prefix("#[path = \"").and_then(|rest| rest.strip_suffix("\"]")) {
            path_attribute = Some(resolve(folder, path));
        } else if let Some(module) = declared(line) {
            match path_attribute.take() {
                Some(path) => found.push(path),
                None => found.extend([format!("{own}/{module}.rs"), format!("{own}/{module}/mod.rs")]),
            }
        }
    }
    found
}

/// The name in `mod name;`, whatever its visibility.
fn declared(line: &str) -> Option<&str> {
    let rest = line.strip_suffix(';')?;
    let (before, name) = rest.rsplit_once("mod ").unwrap_or(("", ""));
    let is_name = !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || c == '_');
    let is_visibility = before.is_empty() || before.starts_with("pub");
    (is_name && is_visibility).then_some(name)
}

fn resolve(folder: &str, path: &str) -> String {
    let mut parts: Vec<_> = folder.split('/').collect();
    for part in path.split('/') {
        match part {
            "." => {}
            ".." => drop(parts.pop()),
            other => parts.push(other),
        }
    }
    parts.join("/")
}

/// Targets that cargo does not find by itself, or not as what they are.
pub(crate) fn unlisted_targets(tree: &Tree) -> Vec<String> {
    let fuzz = tree.files.iter().find(|file| file.path == "tests/fuzz/Cargo.toml");
    let manifests = [
        ("tests/fuzz/fuzz_targets/", fuzz.map_or("", |file| &file.text)),
        ("benches/", tree.text("Cargo.toml")),
    ];
    let mut complaints = Vec::new();
    for file in tree.rust() {
        for (folder, manifest) in manifests {
            let Some(name) = file.path.strip_prefix(folder).filter(|name| !name.contains('/')) else {
                continue;
            };
            if !manifest.contains(&format!("name = \"{}\"", name.trim_end_matches(".rs"))) {
                complaints.push(
                    file.complain(1, "no target: name it in the manifest (a bench with `harness = false`)"),
                );
            }
        }
    }
    complaints
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[(&str, &str)]) -> Tree {
        Tree { files: files.iter().map(|(path, text)| File::new(path, text)).collect() }
    }

    #[test]
    fn a_file_that_no_mod_leads_to_is_found() {
        let tree = tree(&[
            ("src/lib.rs", "mod a;\npub(crate) mod b;\n// mod c;"),
            ("src/a.rs", "mod inner;"),
            ("src/a/inner.rs", ""),
            ("src/b/mod.rs", "pub mod deep;"),
            ("src/b/deep.rs", ""),
            ("src/c.rs", ""),
            ("tests/common/mod.rs", ""),
            ("tests/one/main.rs", "#[path = \"../common/mod.rs\"]\nmod common;"),
            ("tests/two/helper.rs", ""),
            ("perf/src/main.rs", "mod load;"),
            ("perf/src/load.rs", ""),
            ("examples/raft_server/src/main.rs", "mod log;"),
            ("examples/raft_server/src/log.rs", ""),
            ("examples/raft_server/tests/cluster/main.rs", ""),
        ]);
        let dead = dead_files(&tree);
        assert_eq!(dead.len(), 2, "{dead:?}");
        assert!(dead[0].starts_with("src/c.rs") && dead[1].starts_with("tests/two/helper.rs"));
    }

    #[test]
    fn a_target_that_the_manifest_does_not_name_is_found() {
        let tree = tree(&[
            ("Cargo.toml", "[[bench]]\nname = \"codec\""),
            ("benches/codec.rs", ""),
            ("benches/other.rs", ""),
            ("tests/fuzz/Cargo.toml", "[[bin]]\nname = \"message\""),
            ("tests/fuzz/fuzz_targets/message.rs", ""),
            ("tests/fuzz/fuzz_targets/head.rs", ""),
        ]);
        assert_eq!(unlisted_targets(&tree).len(), 2);
    }
}
