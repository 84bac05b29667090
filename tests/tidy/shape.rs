//! What a file looks like from outside.

use std::os::unix::fs::PermissionsExt;

use crate::source::{File, Tree, has_word, root};

/// The files that own raw memory or make system calls; and, of the tests, an allocator that counts,
/// for nothing safe sees every allocation of a process.
const UNSAFE_FILES: [&str; 3] = ["src/io/rent.rs", "src/io/sys.rs", "tests/alloc/counting.rs"];

/// A reader of the library can list what he has to trust.
pub(crate) fn unsafe_files(file: &File) -> Vec<String> {
    if file.is_a_rule() || UNSAFE_FILES.contains(&file.path.as_str()) {
        return Vec::new();
    }
    let found =
        file.code().filter(|(_, line)| has_word(line, "unsafe") || line.contains("allow(unsafe_code"));
    let advice = format!("`unsafe` stands in {UNSAFE_FILES:?} alone: put a safe function there");
    found.map(|(number, _)| file.complain(number, &advice)).collect()
}

const LINES_MAX: usize = 700;

/// A file of one noun ends before that.
pub(crate) fn length(file: &File) -> Vec<String> {
    let lines = file.text.lines().count();
    if lines <= LINES_MAX || file.path == "src/raftpb/generated.rs" {
        return Vec::new();
    }
    vec![
        file.complain(
            lines,
            format!("over {LINES_MAX} lines: which second noun can have a file of its own?"),
        ),
    ]
}

/// The other rules pass over files of tests, so nothing else may hide there.
pub(crate) fn test_files(file: &File) -> Vec<String> {
    if file.layer().is_none() {
        return Vec::new();
    }
    let lines: Vec<_> = file.text.lines().map(str::trim).collect();
    let declares = |line: &str| line.ends_with("mod tests;") && !line.starts_with("//");
    let unguarded =
        (0..lines.len()).filter(|&at| declares(lines[at]) && (at == 0 || lines[at - 1] != "#[cfg(test)]"));
    unguarded.map(|at| file.complain(at + 1, "write `#[cfg(test)]` in the line before")).collect()
}

/// Commands of the README and of CI.
pub(crate) fn not_executable(tree: &Tree) -> Vec<String> {
    let scripts = tree.files.iter().filter(|file| file.path.ends_with("run.sh") || file.path == ".ci/run");
    let mut complaints = Vec::new();
    for file in scripts {
        let mode = root().join(&file.path).metadata().expect("it was read").permissions().mode();
        if mode & 0o111 == 0 {
            complaints.push(file.complain(1, "not executable: chmod +x"));
        }
        if !file.text.starts_with("#!") {
            complaints.push(file.complain(1, "no `#!` line: say which shell runs it"));
        }
    }
    complaints
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unsafe_code_elsewhere_is_found() {
        let text = "unsafe { f() }\n// unsafe in a comment\n#![allow(unsafe_code)]";
        assert_eq!(unsafe_files(&File::new("src/buf/x.rs", text)).len(), 2);
        assert_eq!(unsafe_files(&File::new("tests/x.rs", text)).len(), 2);
        assert_eq!(unsafe_files(&File::new("src/io/sys.rs", text)).len(), 0);
    }

    #[test]
    fn tests_that_are_always_compiled_are_found() {
        assert_eq!(test_files(&File::new("src/x.rs", "a\nmod tests;")).len(), 1);
        assert_eq!(test_files(&File::new("src/x.rs", "#[cfg(test)]\npub(super) mod tests;")).len(), 0);
    }

    #[test]
    fn a_long_file_is_found() {
        let text = "x\n".repeat(LINES_MAX + 1);
        assert_eq!(length(&File::new("src/x.rs", &text)).len(), 1);
        assert_eq!(length(&File::new("src/raftpb/generated.rs", &text)).len(), 0);
        assert_eq!(length(&File::new("src/x.rs", &text[2..])).len(), 0);
    }
}
