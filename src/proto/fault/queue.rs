//! The messages of one peer in one direction, with faults in their way.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::injection::{Fault, Injection, InjectionId};
use super::random::SplitMix64;
use crate::raftpb::{Message, MessageClass};

/// Rules at once: more than any test can explain.
pub const RULES_MAX: usize = 64;

/// So many messages wait in one queue; what exceeds it is dropped and told. One second of 64,000/s.
pub const HELD_MESSAGES_MAX: usize = 1 << 16;

/// So many bytes of payloads likewise: as many as a lane holds.
pub const HELD_BYTES_MAX: usize = 64 << 20;

/// What waits to be overtaken waits no longer than this for others to come.
pub const REORDER_WAIT: Duration = Duration::from_millis(20);

/// An injection where it works: with its own lots, its own limit, and what waits to be overtaken.
#[derive(Clone, Debug)]
pub struct Rule {
    id: InjectionId,
    injection: Arc<Injection>,
    /// Messages it happened to, in all queues.
    count: Arc<AtomicU64>,
    random: SplitMix64,
    left: u64,
    window: Window,
}

/// Messages that wait to be overtaken, in the order in which they came.
#[derive(Clone, Debug, Default)]
struct Window {
    waiting: VecDeque<Overtaken>,
    flush_at: Option<Instant>,
}

#[derive(Clone, Debug)]
struct Overtaken {
    message: Message,
    delay: Duration,
    /// By how many.
    by: usize,
}

/// See the [module](super).
#[derive(Debug, Default)]
pub struct FaultQueue {
    rules: Vec<Rule>,
    /// By when they are due, and by number: of one class always in their order.
    late: BTreeMap<(Instant, u64), Message>,
    paused: VecDeque<Message>,
    /// A rule was taken away since those that are paused were looked at: they may be many, and each
    /// message that comes asks for what leaves.
    may_go_on: bool,
    /// When the last message of each class is due.
    last_due: [Option<Instant>; MessageClass::ALL.len()],
    numbers: u64,
    messages: usize,
    bytes: usize,
    dropped: Vec<Message>,
}

impl Rule {
    /// `stream` tells apart those who draw from the same seed; `count` is shared by all of them.
    #[must_use]
    pub fn new(id: InjectionId, injection: Arc<Injection>, count: Arc<AtomicU64>, stream: u64) -> Self {
        // Mixed once, or neighbours would draw the same numbers one step apart.
        let seed = injection.seed ^ SplitMix64::new(stream).next();
        let left = injection.limit.unwrap_or(u64::MAX);
        Self { id, injection, count, random: SplitMix64::new(seed), left, window: Window::default() }
    }

    fn concerns(&self, class: MessageClass) -> bool {
        self.left > 0 && self.injection.has_class(class)
    }

    fn pauses(&self, class: MessageClass) -> bool {
        self.injection.fault == Fault::Pause && self.injection.has_class(class)
    }

    /// It happened to a message.
    fn note(&mut self) {
        if self.injection.fault != Fault::Pause {
            self.left -= 1;
        }
        self.count.fetch_add(1, Ordering::Relaxed);
    }

    fn draws(&mut self, probability: f64) -> bool {
        let drawn = self.random.chance(probability);
        if drawn {
            self.note();
        }
        drawn
    }

    /// A message that is not to be overtaken any more: the oldest if as many have overtaken it as may,
    /// else any.
    fn pick(&mut self, window: usize) -> Option<Overtaken> {
        let oldest = self.window.waiting.front()?;
        let any = self.random.below(self.window.waiting.len() as u64) as usize;
        let place = if oldest.by >= window { 0 } else { any };
        let picked = self.window.waiting.remove(place);
        self.window.waiting.iter_mut().take(place).for_each(|overtaken| overtaken.by += 1);
        picked
    }
}

impl FaultQueue {
    /// Another rule, behind the others.
    pub fn add(&mut self, rule: Rule) {
        self.rules.push(rule);
    }

    /// Takes a rule away. What waits for it is due now: [`FaultQueue::poll`] gives it.
    pub fn remove(&mut self, now: Instant, id: InjectionId) {
        let Some(place) = self.rules.iter().position(|rule| rule.id == id) else { return };
        self.flush(now, place);
        self.rules.remove(place);
        self.may_go_on = true;
    }

    /// The rules, without what waits for them.
    #[must_use]
    pub fn rules(&self) -> Vec<Rule> {
        let bare = |rule: &Rule| Rule { window: Window::default(), ..rule.clone() };
        self.rules.iter().map(bare).collect()
    }

    /// True if there is neither a rule nor a message: nothing stands in the way.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.rules.is_empty() && self.messages == 0
    }

    /// Messages and payload bytes that wait.
    #[must_use]
    pub const fn held(&self) -> (usize, usize) {
        (self.messages, self.bytes)
    }

    /// A message comes. What becomes of it is asked by [`FaultQueue::poll`].
    pub fn push(&mut self, now: Instant, message: Message) {
        let class = message.class();
        let (mut delay, mut copies, mut window) = (Duration::ZERO, 1, None);
        for (place, rule) in self.rules.iter_mut().enumerate() {
            if !rule.concerns(class) {
                continue;
            }
            match rule.injection.fault {
                Fault::Cut => {
                    rule.note();
                    return self.dropped.push(message);
                }
                Fault::Drop { probability } => {
                    if rule.draws(probability) {
                        return self.dropped.push(message);
                    }
                }
                Fault::Duplicate { probability } => {
                    if class != MessageClass::Snapshot && rule.draws(probability) {
                        copies += 1;
                    }
                }
                Fault::Delay { min, max } => {
                    let span = u64::try_from((max - min).as_nanos()).unwrap_or(u64::MAX);
                    delay += min + Duration::from_nanos(rule.random.below(span.saturating_add(1)));
                    rule.note();
                }
                Fault::Reorder { window: size } => {
                    if window.is_none() {
                        rule.note();
                        window = Some((place, size));
                    }
                }
                Fault::Pause => rule.note(),
                Fault::Disconnect => {}
            }
        }
        for _ in 1..copies {
            self.enter(now, message.clone(), delay, window);
        }
        self.enter(now, message, delay, window);
    }

    /// One more waits, if it may.
    fn enter(&mut self, now: Instant, message: Message, delay: Duration, window: Option<(usize, usize)>) {
        let bytes = message.payload_bytes();
        if self.messages >= HELD_MESSAGES_MAX || self.bytes.saturating_add(bytes) > HELD_BYTES_MAX {
            return self.dropped.push(message);
        }
        self.messages += 1;
        self.bytes += bytes;
        let Some((place, size)) = window else { return self.schedule(now, message, delay) };
        let rule = &mut self.rules[place];
        rule.window.waiting.push_back(Overtaken { message, delay, by: 0 });
        rule.window.flush_at.get_or_insert(now + REORDER_WAIT);
        if rule.window.waiting.len() > size
            && let Some(Overtaken { message, delay, .. }) = rule.pick(size)
        {
            self.schedule(now, message, delay);
        }
    }

    /// It is due after its delay, and behind all of its class.
    fn schedule(&mut self, now: Instant, message: Message, delay: Duration) {
        let last = &mut self.last_due[message.class().index()];
        let due = last.map_or(now + delay, |last| last.max(now + delay));
        *last = Some(due);
        self.late.insert((due, self.numbers), message);
        self.numbers += 1;
    }

    /// Nothing waits to be overtaken at this rule any more.
    fn flush(&mut self, now: Instant, place: usize) {
        let rule = &mut self.rules[place];
        rule.window.flush_at = None;
        let Fault::Reorder { window } = rule.injection.fault else { return };
        while let Some(Overtaken { message, delay, .. }) = self.rules[place].pick(window) {
            self.schedule(now, message, delay);
        }
    }

    /// The messages that leave now, in this order.
    #[must_use]
    pub fn poll(&mut self, now: Instant) -> Vec<Message> {
        for place in 0..self.rules.len() {
            if self.rules[place].window.flush_at.is_some_and(|at| at <= now) {
                self.flush(now, place);
            }
        }
        let mut leaving = Vec::new();
        // What was paused was due before anything of its class that still is not.
        if std::mem::take(&mut self.may_go_on) {
            for message in std::mem::take(&mut self.paused) {
                self.leave_or_pause(message, &mut leaving);
            }
        }
        while let Some(entry) = self.late.first_entry()
            && entry.key().0 <= now
        {
            let message = entry.remove();
            self.leave_or_pause(message, &mut leaving);
        }
        for message in &leaving {
            self.messages -= 1;
            self.bytes -= message.payload_bytes();
        }
        leaving
    }

    fn leave_or_pause(&mut self, message: Message, leaving: &mut Vec<Message>) {
        let class = message.class();
        if self.rules.iter().any(|rule| rule.pauses(class)) {
            self.paused.push_back(message);
        } else {
            leaving.push(message);
        }
    }

    /// When [`FaultQueue::poll`] has something to give, or to decide.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let flushes = self.rules.iter().filter_map(|rule| rule.window.flush_at);
        let late = self.late.first_key_value().map(|(key, _)| key.0);
        flushes.chain(late).min()
    }

    /// What was dropped since the last time: its memory may be the host's, who is not called from here.
    #[must_use]
    pub fn take_dropped(&mut self) -> Vec<Message> {
        std::mem::take(&mut self.dropped)
    }

    /// Nobody will ask any more: what waited is lost with what was dropped.
    #[must_use]
    pub fn drain(&mut self) -> Vec<Message> {
        let mut lost = self.take_dropped();
        for rule in &mut self.rules {
            lost.extend(rule.window.waiting.drain(..).map(|overtaken| overtaken.message));
            rule.window.flush_at = None;
        }
        lost.extend(std::mem::take(&mut self.late).into_values());
        lost.extend(self.paused.drain(..));
        (self.messages, self.bytes) = (0, 0);
        lost
    }
}

#[cfg(test)]
mod tests;
