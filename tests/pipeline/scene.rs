//! Member 1, a raftring, whose peer 2 is scripted and refuses its streams.

use std::time::Duration;

use raftring::raftpb::{Message, MessageType, Snapshot};
use raftring::{Config, Cores, CoresConfig, DropReason, Event, MemberId, PostError, Sent, SnapshotStatus};

use crate::common::scripted::{Reply, Scripted};
use crate::common::{Host, Member, app, wait_until};

pub(crate) struct Scene {
    pub(crate) cores: Cores,
    pub(crate) one: Member,
    pub(crate) two: Scripted,
}

impl Scene {
    pub(crate) fn start(script: impl Fn(&Message) -> Reply + Send + 'static) -> Self {
        Self::start_with(|_| (), script)
    }

    pub(crate) fn start_with(
        adjust: impl FnOnce(&mut Config),
        script: impl Fn(&Message) -> Reply + Send + 'static,
    ) -> Self {
        let cores = Cores::start(&CoresConfig::default()).expect("cores start");
        let one = Member::start(1, &cores, "127.0.0.1:0".parse().expect("an address"), adjust);
        let two = Scripted::start(script);
        one.transport().add_peer(2, [two.url()]).expect("a good peer");
        Self { cores, one, two }
    }

    pub(crate) fn host(&self) -> &Host {
        &self.one.host
    }

    pub(crate) fn send(&self, messages: impl IntoIterator<Item = Message>) -> Sent {
        self.one.transport().send(messages)
    }

    pub(crate) fn wait_for_posts(&self, count: usize) {
        wait_until("the messages are posted", || self.two.count() >= count);
    }

    /// Messages to a member that were told to be dropped for a reason.
    pub(crate) fn dropped(&self, to: u64, because: impl Fn(DropReason) -> bool) -> usize {
        let events = self.host().events.lock().expect("no panic");
        let of = |event: &Event| match event {
            Event::Dropped { peer, messages, reason, .. } if peer.0 == to && because(*reason) => *messages,
            _ => 0,
        };
        events.iter().map(of).sum()
    }

    pub(crate) fn failed(&self) -> usize {
        self.dropped(2, |reason| reason == DropReason::PostFailed)
    }

    pub(crate) fn post_errors(&self) -> Vec<PostError> {
        let events = self.host().events.lock().expect("no panic");
        let of = |event: &Event| match event {
            Event::PostFailed { error, .. } => Some(error.clone()),
            _ => None,
        };
        events.iter().filter_map(of).collect()
    }

    pub(crate) fn unreachable(&self) -> usize {
        self.host().unreachable.lock().expect("no panic").iter().filter(|id| **id == MemberId(2)).count()
    }

    /// How many snapshots were told to have arrived, and to have failed.
    pub(crate) fn snapshots(&self) -> (usize, usize) {
        let told = self.host().snapshots.lock().expect("no panic");
        let count = |wanted| told.iter().filter(|(id, status)| id.0 == 2 && *status == wanted).count();
        (count(SnapshotStatus::Finish), count(SnapshotStatus::Failure))
    }

    /// Nothing waits and nothing is in flight.
    pub(crate) fn wait_until_idle(&self) {
        wait_until("nothing is left to post", || self.one.transport().queued(2) == (0, 0));
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        let ended = self.one.transport().stop().wait(Duration::from_secs(10));
        assert!(ended || std::thread::panicking(), "it stops");
    }
}

pub(crate) fn apps(count: u64) -> impl Iterator<Item = Message> {
    (1..=count).map(|index| app(index, 1))
}

pub(crate) fn snapshot() -> Message {
    let snapshot = Snapshot { data: Some("all of it".into()), ..Snapshot::default() };
    let kind = Some(MessageType::MsgSnap as i32);
    Message {
        r#type: kind,
        to: Some(2),
        from: Some(1),
        snapshot: Some(Box::new(snapshot)),
        ..Message::default()
    }
}

/// Messages of a type that are as good as empty.
pub(crate) fn of_type(kind: MessageType, count: u64) -> impl Iterator<Item = Message> {
    apps(count).map(move |message| Message { r#type: Some(kind as i32), ..message })
}
