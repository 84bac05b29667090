//! The rules of the tree, read from the tree.
//!
//! Each rule is a function from text to complaints, and each complaint says what to do. The unit
//! tests beside a rule prove on small made-up inputs that it can fail.

mod documents;
mod imports;
mod modules;
mod pins;
mod shape;
mod source;
mod words;

use source::Tree;

/// Fails with every complaint at once.
fn assert_tidy(complaints: &[String]) {
    assert!(complaints.is_empty(), "\n\n{}\n", complaints.join("\n"));
}

fn of_each(rule: impl Fn(&source::File) -> Vec<String>) {
    let complaints: Vec<_> = Tree::read().rust().flat_map(rule).collect();
    assert_tidy(&complaints);
}

#[test]
fn modules_import_only_what_their_layer_stands_on() {
    of_each(imports::layers);
}

#[test]
fn monoio_is_named_in_io_alone() {
    of_each(imports::monoio);
}

#[test]
fn proto_reads_no_clock_and_touches_no_socket() {
    of_each(imports::sans_io);
}

#[test]
fn what_monoio_gets_wrong_is_not_used() {
    of_each(words::monoio_rules);
}

#[test]
fn nothing_is_left_half_done() {
    of_each(words::unfinished);
}

#[test]
fn the_library_prints_nothing() {
    of_each(words::prints);
}

#[test]
fn unsafe_code_is_in_the_files_that_may_hold_it() {
    of_each(shape::unsafe_files);
}

#[test]
fn no_file_is_too_long() {
    of_each(shape::length);
}

#[test]
fn every_source_file_is_compiled() {
    assert_tidy(&modules::dead_files(&Tree::read()));
}

#[test]
fn every_fuzz_target_and_benchmark_is_a_target() {
    assert_tidy(&modules::unlisted_targets(&Tree::read()));
}

#[test]
fn no_text_names_a_machine_or_how_it_was_written() {
    let complaints: Vec<_> = Tree::read().files.iter().flat_map(words::of_no_concern).collect();
    assert_tidy(&complaints);
}

#[test]
fn documents_name_only_what_is_there() {
    let tree = Tree::read();
    let complaints: Vec<_> = tree.documents().flat_map(|file| documents::dead_links(&tree, file)).collect();
    assert_tidy(&complaints);
}

#[test]
fn the_quick_start_is_an_example() {
    let tree = Tree::read();
    let of = |path| tree.files.iter().find(|file| file.path == path).expect("it is there");
    assert_tidy(&documents::quick_start(of("README.md"), of("examples/three_nodes.rs")));
}

#[test]
fn tables_of_tests_name_only_what_is_there() {
    let tree = Tree::read();
    let tests = tree.rust().filter(|file| file.layer().is_none());
    let complaints: Vec<_> = tests.flat_map(|file| documents::dead_tests(&tree, file)).collect();
    assert_tidy(&complaints);
}

#[test]
fn dependencies_are_above_their_known_holes_and_from_one_registry() {
    let tree = Tree::read();
    let (deny, lock) = (tree.text("deny.toml"), tree.text("Cargo.lock"));
    assert_tidy(&pins::below_pins(deny, lock));
    assert_tidy(&pins::other_registries(lock));
}

#[test]
fn files_of_tests_are_compiled_for_tests_alone() {
    of_each(shape::test_files);
}

#[test]
fn scripts_can_be_executed() {
    assert_tidy(&shape::not_executable(&Tree::read()));
}
