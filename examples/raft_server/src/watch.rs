//! Looks at other members: their `/version` tells their release, and whether they are of our kind.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use ureq::Agent;

use crate::inbox::{Done, Inbox};

/// For one answer: etcd waits for ever here, and its leaders with it.
const TIMEOUT: Duration = Duration::from_secs(2);

/// An answer holds a few numbers, or a list of members.
const ANSWER_BYTES_MAX: u64 = 1 << 20;

/// What a member says of itself.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
pub(crate) struct VersionAnswer {
    /// Its release, as `3.4.23`.
    pub(crate) etcdserver: String,
    /// What the leader has decided on, or `not_decided`.
    #[serde(default)]
    pub(crate) etcdcluster: String,
    /// Only members of our kind say this.
    #[serde(default)]
    pub(crate) raft_server: Option<OwnKind>,
}

/// What members of our kind say to each other beside that.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct OwnKind {
    /// While it leads: entries beyond this index are needed by a member that cannot read our snapshots.
    pub(crate) needed_beyond: Option<u64>,
}

/// The answers of one look, by member; `None` where there was none.
pub(crate) type Looked = HashMap<u64, Option<VersionAnswer>>;

/// The members to look at, with their URLs.
pub(crate) type Targets = Vec<(u64, Vec<String>)>;

/// A thread that asks.
pub(crate) struct Watch {
    targets: SyncSender<Targets>,
}

impl Watch {
    /// Starts it; it ends when this is dropped.
    pub(crate) fn start(inbox: Arc<Inbox>) -> Result<Self> {
        let (targets, wanted) = sync_channel(1);
        std::thread::Builder::new().name("watch".to_owned()).spawn(move || run(&wanted, &inbox))?;
        Ok(Self { targets })
    }

    /// Looks at these members, unless it still looks at those of before. The loop is told the outcome.
    pub(crate) fn look(&self, targets: Targets) {
        let _ = self.targets.try_send(targets);
    }
}

fn run(wanted: &Receiver<Targets>, inbox: &Inbox) {
    let agent = agent(TIMEOUT);
    while let Ok(targets) = wanted.recv() {
        let looked = targets.into_iter().map(|(id, urls)| (id, version_of(&agent, &urls)));
        inbox.done(Done::Looked(looked.collect()));
    }
}

/// Asks with a bound for each answer.
pub(crate) fn agent(timeout: Duration) -> Agent {
    let config = Agent::config_builder()
        .timeout_global(Some(timeout))
        .max_redirects(0)
        .http_status_as_error(false)
        .max_idle_connections(0);
    config.build().into()
}

fn version_of(agent: &Agent, urls: &[String]) -> Option<VersionAnswer> {
    urls.iter().find_map(|url| version(agent, url).ok())
}

/// `GET /version`.
pub(crate) fn version(agent: &Agent, url: &str) -> Result<VersionAnswer> {
    let (_, body) = get(agent, url, "/version")?;
    serde_json::from_slice(&body).with_context(|| format!("{url}/version is not what etcd answers"))
}

/// The cluster id in the head, and the body, of a 200.
pub(crate) fn get(agent: &Agent, url: &str, path: &str) -> Result<(Option<String>, Vec<u8>)> {
    let mut answer = agent.get(format!("{url}{path}")).call().with_context(|| format!("{url}{path}"))?;
    if answer.status() != 200 {
        bail!("{url}{path} answers {}", answer.status());
    }
    let cluster = answer.headers().get("X-Etcd-Cluster-ID").and_then(|value| value.to_str().ok());
    let cluster = cluster.map(str::to_owned);
    let body = answer.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_vec()?;
    Ok((cluster, body))
}
