//! What clients asked and were told, and whether one register per key explains it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use todc_utils::linearizability::WGLChecker;
use todc_utils::linearizability::history::Action::{self, Call, Response};
use todc_utils::linearizability::history::History as Actions;
use todc_utils::specifications::register::RegisterOperation::{self, Read, Write};
use todc_utils::specifications::register::RegisterSpecification;

/// No two writes of a history write the same.
pub type Value = String;

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum What {
    /// `Some` is what it found, `None` that there is no such key.
    Read(Option<Value>),
    Write(Value),
}

/// One request of one client.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Operation {
    pub key: String,
    pub what: What,
    pub called: Instant,
    /// `None`: nobody knows whether it was done, or will be. Only a write can be such.
    pub returned: Option<Instant>,
}

/// All requests of all clients, in any order.
#[derive(Clone, Default)]
pub struct History {
    pub operations: Vec<Operation>,
}

type Register = RegisterSpecification<Option<Value>>;

impl History {
    /// Fails with the key whose operations have no order that fits both the clock and a register.
    ///
    /// The checker is that of Wing, Gong and Lowe. It decides exactly, and three steps before it
    /// keep its answer exact:
    /// - Linearizability is local: a history is linearizable if and only if that of each key is.
    /// - A write of unknown outcome whose value nobody read is left out. Any order without it is an
    ///   order with it, for it may be taken as never done; in any order with it no read comes
    ///   between it and the next write, for that read would have found its value.
    /// - A write of unknown outcome whose value was read is one that returns after everything else:
    ///   it was done at some time after its call, and that is all that is known.
    ///
    /// Moments of the same clock reading are put so that calls come before returns: operations that
    /// may have overlapped are taken as such, so that no order is refused that was allowed.
    pub fn check(&self) -> Result<(), String> {
        let mut keys: BTreeMap<&str, Vec<&Operation>> = BTreeMap::new();
        for operation in &self.operations {
            keys.entry(&operation.key).or_default().push(operation);
        }
        for (key, operations) in keys {
            let actions = actions(&operations);
            if !actions.is_empty() && !WGLChecker::<Register>::is_linearizable(Actions::from_actions(actions))
            {
                return Err(format!("not linearizable: {key} with {} operations", operations.len()));
            }
        }
        Ok(())
    }

    pub fn reads(&self) -> usize {
        self.operations.iter().filter(|operation| matches!(operation.what, What::Read(_))).count()
    }

    pub fn acknowledged(&self) -> impl Iterator<Item = &Operation> {
        let is_write = |operation: &&Operation| matches!(operation.what, What::Write(_));
        self.operations.iter().filter(is_write).filter(|operation| operation.returned.is_some())
    }

    pub fn unknown(&self) -> usize {
        self.operations.iter().filter(|operation| operation.returned.is_none()).count()
    }
}

type Event = (usize, Action<RegisterOperation<Option<Value>>>);

/// Calls and returns of one key in the order of time. Each operation is a process of its own, for a
/// client goes on after an operation of unknown outcome.
fn actions(operations: &[&Operation]) -> Vec<Event> {
    let read: BTreeSet<&Value> = operations.iter().filter_map(|operation| operation.found()).collect();
    // (never returned, when, is a return, ...) sorts returns that never came behind everything.
    let mut events = Vec::new();
    for (process, operation) in operations.iter().enumerate() {
        let (call, response) = match &operation.what {
            What::Write(value) if operation.returned.is_none() && !read.contains(value) => continue,
            What::Write(value) => (Write(Some(value.clone())), Write(Some(value.clone()))),
            What::Read(found) => (Read(None), Read(Some(found.clone()))),
        };
        events.push(((false, operation.called, false), (process, Call(call))));
        let returned = operation.returned.unwrap_or(operation.called);
        events.push(((operation.returned.is_none(), returned, true), (process, Response(response))));
    }
    events.sort_by_key(|(when, _)| *when);
    events.into_iter().map(|(_, event)| event).collect()
}

impl Operation {
    fn found(&self) -> Option<&Value> {
        match &self.what {
            What::Read(found) => found.as_ref(),
            What::Write(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// `from` and `to` in milliseconds; without `to` the outcome is unknown.
    fn operation(what: What, from: u64, to: impl Into<Option<u64>>) -> Operation {
        thread_local!(static START: Instant = Instant::now());
        let at = |ms| START.with(|start| *start + Duration::from_millis(ms));
        Operation { key: "k".to_owned(), what, called: at(from), returned: to.into().map(at) }
    }

    fn write(value: &str, from: u64, to: impl Into<Option<u64>>) -> Operation {
        operation(What::Write(value.to_owned()), from, to)
    }

    fn read(value: &str, from: u64, to: u64) -> Operation {
        operation(What::Read((!value.is_empty()).then(|| value.to_owned())), from, to)
    }

    fn is_linearizable(operations: &[Operation]) -> bool {
        History { operations: operations.to_vec() }.check().is_ok()
    }

    #[test]
    fn reads_of_the_last_write_or_of_one_meanwhile_pass() {
        assert!(is_linearizable(&[read("", 0, 1), write("a", 2, 3), read("a", 4, 5)]));
        assert!(is_linearizable(&[write("a", 0, 1), write("b", 2, 9), read("a", 3, 4), read("b", 5, 6)]));
    }

    #[test]
    fn a_stale_read_is_found() {
        assert!(!is_linearizable(&[write("a", 0, 1), write("b", 2, 3), read("a", 4, 5)]));
        assert!(!is_linearizable(&[write("a", 0, 1), read("", 2, 3)]));
    }

    #[test]
    fn a_read_that_goes_back_is_found_while_the_write_goes_on() {
        let operations = [write("a", 0, 1), write("b", 2, 9), read("b", 3, 4), read("a", 5, 6)];
        assert!(!is_linearizable(&operations));
    }

    #[test]
    fn a_lost_write_is_found_and_one_of_unknown_outcome_may_be_lost() {
        assert!(!is_linearizable(&[write("a", 0, 1), read("", 9, 10)]));
        assert!(is_linearizable(&[write("a", 0, None), read("", 9, 10)]));
    }

    #[test]
    fn a_write_of_unknown_outcome_may_be_done_late_and_once() {
        let late = [write("a", 0, None), write("b", 2, 3), read("b", 4, 5), read("a", 6, 7)];
        assert!(is_linearizable(&late));
        let twice = [late.as_slice(), &[write("c", 8, 9), read("c", 10, 11), read("a", 12, 13)]].concat();
        assert!(!is_linearizable(&twice));
    }

    #[test]
    fn a_value_that_nobody_wrote_is_found() {
        assert!(!is_linearizable(&[write("a", 0, 1), read("x", 2, 3)]));
    }

    #[test]
    fn a_write_whose_outcome_comes_before_its_call_is_found() {
        assert!(!is_linearizable(&[read("a", 0, 1), write("a", 2, None)]));
    }
}
