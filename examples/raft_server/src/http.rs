//! The client URL.
//!
//! | request | answer |
//! |---|---|
//! | `PUT /kv/<key>`, the value as its body | 200 `{"revision":7}`, once it is applied |
//! | `GET /kv/<key>` | 200, the value, `X-Revision: 7`; or 404. Linearizable |
//! | `DELETE /kv/<key>` | 200 `{"revision":8,"deleted":1}` |
//! | `GET /status` | how this member is |
//! | `GET /metrics` | what it counts, for Prometheus |
//! | `POST /leader/<id>` | 200 once the member of that id, in hexadecimal, leads |
//! | `POST /faults/cut/<id>`, `/faults/mend` | for tests, with `--enable-faults` |
//!
//! What cannot be served is a 503 (409 for what makes no sense), with a sentence that says whether a write
//! may have happened.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{get, post};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use raftring::{MemberId, Transport};
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, oneshot};

use crate::diary;
use crate::inbox::{Ask, Inbox, Refusal, Write};
use crate::status::Status;

/// Connections of clients; each has one request under way at a time, and the raft loop no more of them.
const CONNECTIONS_MAX: usize = 4_096;

/// A value, as much as etcd takes of a request by default.
const VALUE_BYTES_MAX: usize = 3 << 19;

/// A client that says nothing for so long loses its connection.
const HEAD_TIMEOUT: Duration = Duration::from_secs(300);

/// When no more connections can be accepted: somebody ends one meanwhile.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What requests are served from.
#[derive(Clone)]
pub(crate) struct Door {
    pub(crate) inbox: Arc<Inbox>,
    pub(crate) transport: Transport,
    cut: Arc<Mutex<BTreeSet<u64>>>,
}

impl Door {
    pub(crate) fn new(inbox: Arc<Inbox>, transport: Transport) -> Self {
        Self { inbox, transport, cut: Arc::default() }
    }

    /// All paths.
    pub(crate) fn router(self, enable_faults: bool) -> Router {
        let mut router = Router::new()
            .route("/kv/{*key}", get(read).put(put).delete(delete))
            .route("/status", get(status))
            .route("/metrics", get(metrics))
            .route("/leader/{id}", post(lead));
        if enable_faults {
            router = router.route("/faults/cut/{id}", post(cut)).route("/faults/mend", post(mend));
        }
        router.layer(DefaultBodyLimit::max(VALUE_BYTES_MAX)).with_state(self)
    }

    async fn ask<T>(
        &self,
        ask: impl FnOnce(oneshot::Sender<Result<T, Refusal>>) -> Ask,
    ) -> Result<T, Refusal> {
        let (reply, answer) = oneshot::channel();
        self.inbox.ask(ask(reply)).map_err(|_| Refusal::Busy)?;
        // The loop answers all it was asked; without an answer it has failed.
        answer.await.unwrap_or(Err(Refusal::Stopping))
    }

    async fn status(&self) -> Result<Box<Status>, Refusal> {
        let (reply, answer) = oneshot::channel();
        self.inbox.ask(Ask::Status(reply)).map_err(|_| Refusal::Busy)?;
        let mut status = answer.await.map_err(|_| Refusal::Stopping)?;
        let transport = self.transport.clone();
        let asked = tokio::task::spawn_blocking(move || {
            status.ask_transport(&transport);
            status
        });
        asked.await.map_err(|_| Refusal::Stopping)
    }
}

/// Accepts clients until it is dropped.
pub(crate) async fn serve(listener: TcpListener, router: Router, places: Arc<Semaphore>) {
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let router = router.clone();
                tokio::spawn(async move {
                    serve_connection(stream, router).await;
                    drop(place);
                });
            }
            Err(error) => {
                diary::warn(format!("no client can be accepted: {error}"));
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// For all listeners together.
pub(crate) fn places() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(CONNECTIONS_MAX))
}

/// Where a client URL says.
pub(crate) async fn listen(url: &str) -> anyhow::Result<TcpListener> {
    use anyhow::Context as _;
    let address = url.strip_prefix("http://").with_context(|| format!("{url}: give http://address:port"))?;
    let address: SocketAddr = address
        .trim_end_matches('/')
        .parse()
        .with_context(|| format!("{url}: give an address to listen on, like http://127.0.0.1:2379"))?;
    TcpListener::bind(address).await.with_context(|| url.to_owned())
}

async fn serve_connection(stream: TcpStream, router: Router) {
    // Answers are small, and clients wait for each.
    let _ = stream.set_nodelay(true);
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
    // A client that goes away is nobody's fault.
    let _ = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router)).await;
}

// ---- requests ----------------------------------------------------------------------------------

async fn put(State(door): State<Door>, Path(key): Path<String>, value: Bytes) -> Response {
    let write = Write::Put(key.into(), value);
    match door.ask(|reply| Ask::Write(write, reply)).await {
        Ok(written) => Json(json!({ "revision": written.revision })).into_response(),
        Err(refusal) => refused(refusal, true),
    }
}

async fn delete(State(door): State<Door>, Path(key): Path<String>) -> Response {
    match door.ask(|reply| Ask::Write(Write::Delete(key.into()), reply)).await {
        Ok(written) => {
            Json(json!({ "revision": written.revision, "deleted": written.deleted })).into_response()
        }
        Err(refusal) => refused(refusal, true),
    }
}

async fn read(State(door): State<Door>, Path(key): Path<String>) -> Response {
    match door.ask(|reply| Ask::Get(key.into(), reply)).await {
        Ok(Some(found)) => {
            let headers = [
                (header::CONTENT_TYPE.as_str(), "application/octet-stream".to_owned()),
                ("x-revision", found.revision.to_string()),
            ];
            (headers, found.value).into_response()
        }
        Ok(None) => (StatusCode::NOT_FOUND, "there is no such key\n").into_response(),
        Err(refusal) => refused(refusal, false),
    }
}

async fn status(State(door): State<Door>) -> Response {
    match door.status().await {
        Ok(status) => Json(status).into_response(),
        Err(refusal) => refused(refusal, false),
    }
}

async fn metrics(State(door): State<Door>) -> Response {
    match door.status().await {
        Ok(status) => {
            let text = door.transport.metrics_text() + status.metrics_text().as_str();
            ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
        }
        Err(refusal) => refused(refusal, false),
    }
}

async fn lead(State(door): State<Door>, Path(id): Path<String>) -> Response {
    let Ok(to) = id.parse::<MemberId>() else { return no_id() };
    match door.ask(|reply| Ask::Lead(to.0, reply)).await {
        Ok(()) => Json(json!({ "leader": to.to_string() })).into_response(),
        Err(refusal) => refused(refusal, false),
    }
}

async fn cut(State(door): State<Door>, Path(id): Path<String>) -> Response {
    let Ok(id) = id.parse::<MemberId>() else { return no_id() };
    door.cut.lock().unwrap_or_else(PoisonError::into_inner).insert(id.0);
    door.transport.cut_peer(id);
    Json(json!({ "cut": id.to_string() })).into_response()
}

async fn mend(State(door): State<Door>) -> Response {
    let cut = std::mem::take(&mut *door.cut.lock().unwrap_or_else(PoisonError::into_inner));
    for id in &cut {
        door.transport.mend_peer(*id);
    }
    Json(json!({ "mended": cut.len() })).into_response()
}

fn no_id() -> Response {
    (StatusCode::BAD_REQUEST, "give a member's id in hexadecimal\n").into_response()
}

fn refused(refusal: Refusal, is_write: bool) -> Response {
    let unknown = if is_write { " The write may have happened, or happen yet." } else { "" };
    let (status, sentence) = match refusal {
        Refusal::Busy => (503, "Too many requests wait already. Nothing was done.".to_owned()),
        Refusal::NoLeader => (503, "There is no leader. Nothing was done.".to_owned()),
        Refusal::Timeout => (503, format!("It took too long.{unknown}")),
        Refusal::Lost => (503, format!("Another member was elected meanwhile.{unknown}")),
        Refusal::Stopping => (503, format!("This member ends.{unknown}")),
        Refusal::Not(why) => (409, format!("Nothing was done: {why}.")),
        Refusal::Denied(why) => (409, format!("Nothing was done: {why}.")),
    };
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, sentence + "\n").into_response()
}
