//! Who may name whom.

use crate::source::{File, has_word};

/// What each layer stands on, itself aside. What is not listed may name everything.
const LAYERS: [(&str, &[&str]); 15] = [
    ("sync", &[]),
    ("raftpb", &[]),
    ("buf", &["sync"]),
    ("cores", &["sync"]),
    ("id", &[]),
    ("snapshot", &[]),
    ("raft", &["id", "raftpb", "snapshot"]),
    ("raft_rs", &["raftpb"]),
    ("proto", &["buf", "id", "raft", "raftpb"]),
    ("error", &["cores", "id"]),
    ("event", &["cores", "id", "proto", "raftpb"]),
    ("routes", &[]),
    ("config", &["error", "event", "id", "proto", "routes"]),
    ("metrics", &["event", "id", "proto", "raftpb"]),
    (
        "io",
        &[
            "buf", "config", "cores", "error", "event", "id", "metrics", "proto", "raft", "raftpb", "routes",
            "snapshot",
        ],
    ),
];

/// A layer names the layers it stands on and no other.
pub(crate) fn layers(file: &File) -> Vec<String> {
    let Some((layer, below)) = file.layer().and_then(|layer| LAYERS.iter().find(|(name, _)| *name == layer))
    else {
        return Vec::new();
    };
    let mut complaints = Vec::new();
    for (number, line) in file.code() {
        for module in named_from_root(line) {
            if module == "{" {
                complaints.push(file.complain(number, "name one module a line, as `use crate::module::...`"));
            } else if module != *layer && !below.contains(&module) {
                let advice = format!(
                    "`{layer}` stands on {below:?} and may not name `{module}`: move the code up, or pass what \
                     it needs as an argument"
                );
                complaints.push(file.complain(number, advice));
            }
        }
        if supers(line) >= depth(&file.path) {
            complaints.push(file.complain(number, "`super` leads out of the layer: write `crate::...`"));
        }
    }
    complaints
}

/// The first names behind `crate::`.
fn named_from_root(line: &str) -> impl Iterator<Item = &str> {
    line.split("crate::").skip(1).map(|rest| {
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        if rest.starts_with('{') { "{" } else { &rest[..end] }
    })
}

/// The longest chain of `super::` in a line.
fn supers(line: &str) -> usize {
    let mut longest = 0;
    let mut rest = line;
    while let Some(at) = rest.find("super::") {
        rest = &rest[at..];
        let mut count = 0;
        while let Some(behind) = rest.strip_prefix("super::") {
            (rest, count) = (behind, count + 1);
        }
        longest = longest.max(count);
    }
    longest
}

/// How many `super` lead from a file's module to the root of the crate.
fn depth(path: &str) -> usize {
    let parts = path.trim_start_matches("src/").trim_end_matches("/mod.rs").trim_end_matches(".rs");
    parts.split('/').count()
}

/// Only `io` knows the runtime.
pub(crate) fn monoio(file: &File) -> Vec<String> {
    if file.layer().is_none_or(|layer| layer == "io") {
        return Vec::new();
    }
    let advice = "only `io` names the runtime: put this there, or pass what it needs as an argument";
    let named = |line: &str| has_word(line, "monoio") || line.contains("io_uring::");
    file.code().filter(|(_, line)| named(line)).map(|(number, _)| file.complain(number, advice)).collect()
}

/// Bytes, messages and `now` in; bytes, messages and events out.
pub(crate) fn sans_io(file: &File) -> Vec<String> {
    if file.layer() != Some("proto") {
        return Vec::new();
    }
    let clocks = ["Instant::now", "SystemTime"];
    let sockets = ["TcpStream", "TcpListener", "UdpSocket", "socket2", "rustix", "libc"];
    let others = ["std::fs", "std::thread", "async", "await", "rand", "println"];
    [
        words(file, &clocks, "`proto` reads no clock: take `now` as an argument"),
        words(file, &sockets, "`proto` touches no socket: take and give bytes"),
        words(file, &others, "`proto` does nothing but compute: its caller does this"),
    ]
    .concat()
}

fn words(file: &File, words: &[&str], advice: &str) -> Vec<String> {
    let named = |(number, line): (usize, &str)| {
        let word = words.iter().find(|word| has_word(line, word))?;
        Some(file.complain(number, format!("`{word}`: {advice}")))
    };
    file.code().filter_map(named).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(rule: fn(&File) -> Vec<String>, path: &str, text: &str) -> usize {
        rule(&File::new(path, text)).len()
    }

    #[test]
    fn a_layer_that_names_one_above_it_is_found() {
        assert_eq!(count(layers, "src/proto/x.rs", "use crate::io::Core;"), 1);
        assert_eq!(count(layers, "src/proto/x.rs", "fn f(a: crate::buf::Pool, b: crate::event::Event)"), 1);
        assert_eq!(count(layers, "src/buf/x.rs", "use crate::raftpb::Message;"), 1);
        assert_eq!(count(layers, "src/cores/x.rs", "use crate::proto::version;"), 1);
        assert_eq!(count(layers, "src/io/x.rs", "use crate::transport::Transport;"), 1);
        assert_eq!(count(layers, "src/io/x.rs", "use crate::{proto, transport};"), 1);
        assert_eq!(count(layers, "src/proto/a/x.rs", "use super::super::super::io;"), 1);
        assert_eq!(count(layers, "src/proto/mod.rs", "use super::io;"), 1);
    }

    #[test]
    fn what_a_layer_stands_on_may_be_named() {
        assert_eq!(count(layers, "src/proto/x.rs", "use crate::raftpb::Message;\nuse crate::proto::a;"), 0);
        assert_eq!(count(layers, "src/proto/a/x.rs", "use super::super::b;"), 0);
        assert_eq!(count(layers, "src/transport/x.rs", "use crate::io::Core;"), 0);
        assert_eq!(count(layers, "src/id.rs", "/// See [`crate::proto`]."), 0);
    }

    #[test]
    fn a_runtime_outside_of_io_is_found() {
        assert_eq!(count(monoio, "src/transport/x.rs", "monoio::spawn(f)"), 1);
        assert_eq!(count(monoio, "src/io/x.rs", "monoio::spawn(f)"), 0);
        assert_eq!(count(monoio, "src/lib.rs", "//! runs on monoio"), 0);
    }

    #[test]
    fn a_clock_or_a_socket_in_proto_is_found() {
        for line in
            ["Instant::now()", "SystemTime::now()", "std::net::TcpStream", "async fn f()", "println!()"]
        {
            assert_eq!(count(sans_io, "src/proto/x.rs", line), 1, "{line}");
        }
        assert_eq!(count(sans_io, "src/proto/x.rs", "now: Instant, dialog: u8"), 0);
        assert_eq!(count(sans_io, "src/proto/x.rs", "a();\n#[cfg(test)]\nmod tests {\nInstant::now()"), 0);
    }
}
