//! What documents point at.

use crate::source::{File, Tree, root};

/// Links to files, and paths in backticks below folders of ours, that lead nowhere.
pub(crate) fn dead_links(tree: &Tree, file: &File) -> Vec<String> {
    let mut complaints = Vec::new();
    for (at, line) in file.text.lines().enumerate() {
        for target in targets(line) {
            if !exists(tree, &file.path, &target) {
                complaints.push(file.complain(at + 1, format!("`{target}` is not there: mend or drop it")));
            }
        }
    }
    complaints
}

/// Tests that a table at the top of a file of tests names and that are not there.
pub(crate) fn dead_tests(tree: &Tree, file: &File) -> Vec<String> {
    let in_table = |line: &&str| line.starts_with("//! |");
    let named = file.text.lines().enumerate().filter(|(_, line)| in_table(line));
    let mut complaints = Vec::new();
    for (at, line) in named {
        for name in line.split('`').skip(1).step_by(2).filter(|name| is_test_name(name)) {
            let called = format!("fn {name}(");
            if !tree.rust().any(|other| other.text.contains(&called)) {
                complaints.push(file.complain(at + 1, format!("there is no test `{name}`: mend or drop it")));
            }
        }
    }
    complaints
}

/// Lines that the program of the quick start may have.
const QUICK_LINES_MAX: usize = 100;

/// Rust code of the README that is not that of the example, and an example that is no longer quick.
pub(crate) fn quick_start(readme: &File, example: &File) -> Vec<String> {
    let mut complaints = Vec::new();
    let blocks: Vec<_> = readme.text.split("```rust").skip(1).collect();
    for block in &blocks {
        let code = block.split("```").next().unwrap_or_default();
        let code = code.split_once('\n').map_or("", |(_, code)| code);
        if !example.text.contains(code) {
            complaints.push(readme.complain(1, format!("its code is not in {}: copy it", example.path)));
        }
    }
    if blocks.is_empty() {
        complaints.push(readme.complain(1, "it shows no code: begin with some"));
    }
    let lines = example.text.lines().count();
    if lines >= QUICK_LINES_MAX {
        complaints.push(example.complain(lines, format!("{QUICK_LINES_MAX} lines or more: leave out")));
    }
    complaints
}

/// Lower-case words, several of them.
fn is_test_name(name: &str) -> bool {
    name.contains('_') && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

/// Links `](target)`, and code that is one path of ours.
fn targets(line: &str) -> Vec<String> {
    let mut found = Vec::new();
    for link in line.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
        let path = link.split('#').next().unwrap_or_default();
        if !path.is_empty() && !path.contains("://") {
            found.push(path.to_owned());
        }
    }
    for code in line.split('`').skip(1).step_by(2) {
        let path = code.split(' ').next().unwrap_or_default();
        let ours = ["src/", "tests/", "perf/", "benches/", "examples/", ".ci/"];
        let is_plain = path.chars().all(|c| c.is_alphanumeric() || "/._-".contains(c));
        // What git ignores is made by commands.
        if is_plain && ours.iter().any(|folder| path.starts_with(folder)) && !path.starts_with("perf/results")
        {
            found.push(path.to_owned());
        }
    }
    found
}

fn exists(tree: &Tree, document: &str, target: &str) -> bool {
    let folder = document.rsplit_once('/').map_or("", |(folder, _)| folder);
    let target = target.trim_end_matches('/');
    let listed =
        |path: &str| tree.files.iter().any(|f| f.path == path || f.path.starts_with(&format!("{path}/")));
    let candidates = [target.to_owned(), format!("{folder}/{target}")];
    candidates.iter().any(|path| listed(path) || root().join(path).exists())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_that_a_table_names_and_nobody_wrote_is_found() {
        let text =
            "//! | row | `it_is_there`, `it_is_not`, `Other` |\n//! `not_in_a_table`\nfn it_is_there() {}";
        let tree = Tree { files: vec![File::new("tests/x.rs", text)] };
        assert_eq!(dead_tests(&tree, &tree.files[0]).len(), 1);
    }

    #[test]
    fn a_quick_start_that_is_no_longer_the_examples_is_found() {
        let example = File::new("examples/x.rs", "use a;\n\nfn b() {}\n");
        let count = |text| quick_start(&File::new("README.md", text), &example).len();
        assert_eq!(count("```sh\nrun\n```\n```rust,no_run\nfn b() {}\n```\n"), 0);
        assert_eq!(count("```rust\nfn c() {}\n```\n"), 1);
        assert_eq!(count("```sh\nrun\n```\n"), 1);
        let long = File::new("examples/x.rs", &"x\n".repeat(QUICK_LINES_MAX));
        assert_eq!(quick_start(&File::new("README.md", "```rust\nx\n```"), &long).len(), 1);
    }

    #[test]
    fn a_path_that_leads_nowhere_is_found() {
        let tree = Tree { files: vec![File::new("src/io/core.rs", "")] };
        let count = |text| dead_links(&tree, &File::new("README.md", text)).len();
        assert_eq!(count("see `src/io/core.rs`, `src/io/` and [it](src/io/core.rs#x)"), 0);
        assert_eq!(count("see `src/io/gone.rs`"), 1);
        assert_eq!(count("see [it](GONE.md)"), 1);
        assert_eq!(count("see [it](https://example.org/x) and `let a = b/c`"), 0);
    }
}
