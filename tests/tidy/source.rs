//! The tree, read once a rule.

use std::fs;
use std::path::{Path, PathBuf};

/// A text file.
pub(crate) struct File {
    /// Relative to the root, with slashes.
    pub(crate) path: String,
    pub(crate) text: String,
}

/// Everything that is not built or ignored.
pub(crate) struct Tree {
    pub(crate) files: Vec<File>,
}

/// Folders that git ignores, or that hold no text of ours.
const SKIPPED: [&str; 6] = ["target", ".git", "results", "corpus", "artifacts", "coverage"];

/// What is read: everything that people read.
const EXTENSIONS: [&str; 10] = ["rs", "md", "toml", "lock", "sh", "go", "mod", "yml", "proto", "txt"];

impl Tree {
    pub(crate) fn read() -> Self {
        let mut files = Vec::new();
        read_folder(&root(), &mut files);
        assert!(files.len() > 50, "the tree was not found");
        Self { files }
    }

    pub(crate) fn rust(&self) -> impl Iterator<Item = &File> {
        self.files.iter().filter(|file| file.path.ends_with(".rs"))
    }

    pub(crate) fn documents(&self) -> impl Iterator<Item = &File> {
        self.files.iter().filter(|file| file.path.ends_with(".md"))
    }

    pub(crate) fn text(&self, path: &str) -> &str {
        let file = self.files.iter().find(|file| file.path == path);
        &file.unwrap_or_else(|| panic!("{path} is missing")).text
    }
}

pub(crate) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read_folder(folder: &Path, files: &mut Vec<File>) {
    let mut entries: Vec<_> =
        fs::read_dir(folder).expect("a folder").map(|e| e.expect("an entry").path()).collect();
    entries.sort();
    for path in entries {
        let name = path.file_name().and_then(|name| name.to_str()).expect("a name in UTF-8");
        if path.is_dir() {
            if !SKIPPED.contains(&name) {
                read_folder(&path, files);
            }
        } else if is_text(&path, name) {
            let text =
                fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            let relative = path.strip_prefix(root()).expect("below the root");
            files.push(File { path: relative.to_str().expect("UTF-8").to_owned(), text });
        }
    }
}

fn is_text(path: &Path, name: &str) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str());
    extension.is_some_and(|extension| EXTENSIONS.contains(&extension))
        || (name == "run" && path.ends_with(".ci/run"))
}

impl File {
    #[cfg(test)]
    pub(crate) fn new(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned() }
    }

    /// The first folder below `src`, or the name of the file there; `None` outside of it.
    pub(crate) fn layer(&self) -> Option<&str> {
        let below = self.path.strip_prefix("src/")?;
        Some(below.split('/').next().unwrap_or(below).trim_end_matches(".rs"))
    }

    /// True for the rules themselves, which must name what they forbid.
    pub(crate) fn is_a_rule(&self) -> bool {
        self.path.starts_with("tests/tidy/") || self.path == "clippy.toml"
    }

    /// The lines of code with their numbers: no comments, and no unit tests, which stand last or in a
    /// file `tests.rs` (see [`crate::shape::test_files`]).
    pub(crate) fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let is_test = self.layer().is_some() && self.path.ends_with("/tests.rs");
        let end = self.text.find("#[cfg(test)]\nmod tests").unwrap_or(self.text.len());
        let end = if is_test { 0 } else { end };
        let lines = self.text[..end].lines().enumerate();
        lines.map(|(at, line)| (at + 1, without_comment(line))).filter(|(_, line)| !line.trim().is_empty())
    }

    /// A complaint about a line.
    pub(crate) fn complain(&self, line: usize, what: impl AsRef<str>) -> String {
        format!("{}:{line}: {}", self.path, what.as_ref())
    }
}

/// A comment begins at the start of a line or behind a space; `//` of a URL stands behind a colon.
fn without_comment(line: &str) -> &str {
    if line.trim_start().starts_with("//") {
        return "";
    }
    line.find(" // ").map_or(line, |at| &line[..at])
}

/// True if `word` stands in `line` on its own.
pub(crate) fn has_word(line: &str, word: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        !before.is_some_and(is_part) && !after.is_some_and(is_part)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_is_what_is_left_without_comments_and_tests() {
        let text = "//! doc\nlet a = 1; // why\n    // more\nlet url = \"http://x\";\n#[cfg(test)]\nmod tests {\n bad }";
        let file = File::new("src/io/x.rs", text);
        let code: Vec<_> = file.code().collect();
        assert_eq!(code, [(2, "let a = 1;"), (4, "let url = \"http://x\";")]);
        assert_eq!(file.layer(), Some("io"));
        assert_eq!(File::new("src/raft.rs", "").layer(), Some("raft"));
        assert_eq!(File::new("tests/raft.rs", "").layer(), None);
    }

    #[test]
    fn words_stand_on_their_own() {
        assert!(has_word("unsafe { x }", "unsafe"));
        assert!(!has_word("#![allow(unsafe_code)]", "unsafe"));
        assert!(has_word("a(crate::io)", "io"));
    }
}
