//! Words that must not occur.

use crate::source::{File, has_word};

/// A word, where it may stand all the same, and what to do instead.
type Banned = (&'static str, &'static [&'static str], &'static str);

/// What clippy's lists of paths cannot express; see `clippy.toml` and `ARCHITECTURE.md`.
const MONOIO: [Banned; 9] = [
    ("select!", &[], "N2: it drops an operation; end the socket with `Shut` and await the operation"),
    ("join!", &[], "N5: a panic in one of them takes all; spawn a task each"),
    ("BufWriter", &[], "N7: monoio's overruns its buffer; fill a `Chain`"),
    ("BufReader", &[], "N7: it loses bytes; use `Input` or `StreamReader`"),
    ("into_split", &[], "N7: halves share one descriptor unguarded; one task owns a `Conn`"),
    ("into_poll_io", &[], "N7: polling adaptors cancel operations; await them on the ring"),
    ("cancelable_", &[], "N1: a cancelled operation loses bytes; end the socket with `Shut`"),
    ("time::timeout", &[], "N2: it drops an operation; give `Endpoint::watch` a deadline"),
    (
        "wake_by_ref",
        &["src/io/spin.rs"],
        "N6: a task that wakes itself starves all others; let another wake it",
    ),
];

/// The rules N1 to N8 of `io`, as far as words show them.
pub(crate) fn monoio_rules(file: &File) -> Vec<String> {
    if file.layer() != Some("io") {
        return Vec::new();
    }
    let mut complaints = banned(file, &MONOIO, str::contains::<&str>);
    for (number, line) in file.code() {
        // An operation is counted and guarded only if it is awaited through `Core::operation`.
        let bare = [".readable(", ".writable(", ".read_at(", ".writev(", ".readv("];
        let called = bare.iter().any(|call| line.contains(call));
        if called && line.contains(".await") && !line.contains("operation(") {
            complaints.push(file.complain(number, "N1: await operations through `Core::operation`"));
        }
    }
    complaints
}

/// What a release must not hold.
pub(crate) fn unfinished(file: &File) -> Vec<String> {
    const WORDS: [Banned; 5] = [
        ("todo!", &[], "write it, or leave it out and say so in `ARCHITECTURE.md`"),
        ("unimplemented!", &[], "write it, or leave it out and say so in `ARCHITECTURE.md`"),
        ("dbg!", &[], "take it out"),
        ("#[ignore", &[], "a test that never runs proves nothing: make it quick, or take it out"),
        ("FIXME", &[], "mend it now, or say in a sentence what is missing"),
    ];
    if file.is_a_rule() { Vec::new() } else { banned(file, &WORDS, str::contains::<&str>) }
}

/// A library says what happens through its observer.
pub(crate) fn prints(file: &File) -> Vec<String> {
    const ADVICE: &str = "tell it as an `Event`";
    const WORDS: [Banned; 6] = [
        ("println!", &[], ADVICE),
        ("eprintln!", &[], ADVICE),
        ("print!", &[], ADVICE),
        ("eprint!", &[], ADVICE),
        ("log", &[], ADVICE),
        ("tracing", &[], ADVICE),
    ];
    let macros = |line: &str, word: &str| match word {
        "log" | "tracing" => line.contains(&format!("{word}::")) && has_word(line, word),
        _ => has_word(line, word),
    };
    if file.layer().is_some() { banned(file, &WORDS, macros) } else { Vec::new() }
}

fn banned(file: &File, words: &[Banned], occurs: impl Fn(&str, &'static str) -> bool) -> Vec<String> {
    let mut complaints = Vec::new();
    for (number, line) in file.code() {
        for &(word, allowed, advice) in words {
            if !allowed.contains(&file.path.as_str()) && occurs(line, word) {
                complaints.push(file.complain(number, format!("`{word}`: {advice}")));
            }
        }
    }
    complaints
}

/// Folders of one machine, which mean nothing on another.
pub(crate) fn of_no_concern(file: &File) -> Vec<String> {
    const FOLDERS: [&str; 2] = ["/home/", "/Users/"];
    if file.is_a_rule() {
        return Vec::new();
    }
    let mut complaints = Vec::new();
    for (at, line) in file.text.lines().enumerate() {
        if let Some(folder) = FOLDERS.iter().find(|folder| line.contains(**folder)) {
            let advice =
                format!("`{folder}` is a folder of one machine: name it relative to this repository");
            complaints.push(file.complain(at + 1, advice));
        }
    }
    complaints
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_word_against_the_runtime_is_found_in_io() {
        for (word, _, _) in MONOIO {
            let text = format!("let x = a.{word}(b);");
            assert_eq!(monoio_rules(&File::new("src/io/x.rs", &text)).len(), 1, "{word}");
            assert_eq!(monoio_rules(&File::new("src/proto/x.rs", &text)).len(), 0, "{word}");
        }
        assert_eq!(monoio_rules(&File::new("src/io/spin.rs", "w.wake_by_ref();")).len(), 0);
    }

    #[test]
    fn an_operation_that_is_awaited_unguarded_is_found() {
        let unguarded = File::new("src/io/x.rs", "poll.readable(true).await?;");
        assert_eq!(monoio_rules(&unguarded).len(), 1);
        let guarded = File::new("src/io/x.rs", "core.operation(poll.readable(true)).await?;");
        assert_eq!(monoio_rules(&guarded).len(), 0);
    }

    #[test]
    fn what_is_half_done_is_found_everywhere_but_in_comments() {
        assert_eq!(unfinished(&File::new("tests/x.rs", "todo!()")).len(), 1);
        assert_eq!(unfinished(&File::new("src/x.rs", "let a = dbg!(b);")).len(), 1);
        assert_eq!(unfinished(&File::new("src/x.rs", "// no todo! here")).len(), 0);
    }

    #[test]
    fn printing_is_found_in_the_library_alone() {
        assert_eq!(prints(&File::new("src/x.rs", "println!(\"x\")")).len(), 1);
        assert_eq!(prints(&File::new("src/x.rs", "log::warn!(\"x\")")).len(), 1);
        assert_eq!(prints(&File::new("src/x.rs", "Self::log_term::x()")).len(), 0);
        assert_eq!(prints(&File::new("perf/src/x.rs", "println!(\"x\")")).len(), 0);
    }

    #[test]
    fn folders_of_a_machine_are_found_in_any_text() {
        assert_eq!(of_no_concern(&File::new("README.md", "see /home/me/notes and more")).len(), 1);
        assert_eq!(of_no_concern(&File::new("src/x.rs", "// see ARCHITECTURE.md")).len(), 0);
    }
}
