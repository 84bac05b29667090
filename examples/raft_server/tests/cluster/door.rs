//! The way in for clients of one member: one set of questions for both kinds of members.

use std::net::SocketAddr;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};
use ureq::Agent;
use ureq::http::{Response, StatusCode};

use crate::member::Kind;
use crate::status::Status;

/// Longer than an election and a second try of the server; then the outcome is unknown.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// No success. A write may have been done all the same.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failed(pub String);

/// A value as it was read, and the revision that wrote it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Found {
    pub value: String,
    pub revision: u64,
}

/// Connections are kept and used again; each request is sent once, and never a second time.
pub struct Door {
    kind: Kind,
    client: SocketAddr,
    agent: Agent,
}

impl Door {
    pub fn new(kind: Kind, client: SocketAddr) -> Self {
        Self::with_timeout(kind, client, REQUEST_TIMEOUT)
    }

    pub fn with_timeout(kind: Kind, client: SocketAddr, timeout: Duration) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .timeout_global(Some(timeout))
            .proxy(None);
        Self { kind, client, agent: config.build().into() }
    }

    /// To the same member, with connections of its own.
    pub fn another(&self) -> Self {
        Self::new(self.kind, self.client)
    }

    /// The revision of the write.
    pub fn put(&self, key: &str, value: &str) -> Result<u64, Failed> {
        match self.kind {
            Kind::Raftring => {
                let body = self.send("PUT", &format!("/kv/{key}"), value)?.expect("a put is never a 404");
                Ok(parse(&body.text)["revision"].as_u64().expect("a revision"))
            }
            Kind::Etcd => {
                let request = json!({ "key": BASE64.encode(key), "value": BASE64.encode(value) });
                Ok(number(&self.ask_etcd("/v3/kv/put", &request)?["header"]["revision"]))
            }
        }
    }

    /// A linearizable read; `None` if there is no such key.
    pub fn get(&self, key: &str) -> Result<Option<Found>, Failed> {
        match self.kind {
            Kind::Raftring => {
                let answer = self.send("GET", &format!("/kv/{key}"), "")?;
                Ok(answer.map(|answer| Found {
                    revision: answer.revision.expect("a revision"),
                    value: answer.text,
                }))
            }
            Kind::Etcd => {
                let answer = self.ask_etcd("/v3/kv/range", &json!({ "key": BASE64.encode(key) }))?;
                Ok(answer["kvs"]
                    .get(0)
                    .map(|kv| Found { value: decode(&kv["value"]), revision: number(&kv["mod_revision"]) }))
            }
        }
    }

    /// How many keys went.
    pub fn delete(&self, key: &str) -> Result<u64, Failed> {
        match self.kind {
            Kind::Raftring => {
                let body = self.send("DELETE", &format!("/kv/{key}"), "")?.expect("a delete is never a 404");
                Ok(parse(&body.text)["deleted"].as_u64().expect("a count"))
            }
            Kind::Etcd => {
                let request = json!({ "key": BASE64.encode(key) });
                Ok(number(&self.ask_etcd("/v3/kv/deleterange", &request)?["deleted"]))
            }
        }
    }

    pub fn status(&self) -> Result<Status, Failed> {
        match self.kind {
            Kind::Raftring => {
                let answer = self.send("GET", "/status", "")?.expect("there is a status");
                Ok(Status::of_ours(&parse(&answer.text)))
            }
            Kind::Etcd => Ok(Status::of_etcd(&self.ask_etcd("/v3/maintenance/status", &json!({}))?)),
        }
    }

    /// Any page by GET.
    pub fn page(&self, path: &str) -> Result<String, Failed> {
        Ok(self.send("GET", path, "")?.ok_or_else(|| Failed(format!("404 at {path}")))?.text)
    }

    /// A command of ours, such as `/leader/<id>`.
    pub fn post(&self, path: &str) -> Result<String, Failed> {
        Ok(self.send("POST", path, "")?.ok_or_else(|| Failed(format!("404 at {path}")))?.text)
    }

    fn ask_etcd(&self, path: &str, request: &Value) -> Result<Value, Failed> {
        let answer = self.send("POST", path, &request.to_string())?;
        Ok(parse(&answer.expect("etcd was started with its gateway").text))
    }

    /// `None` is a 404; every status but 200 and that is a failure.
    fn send(&self, method: &str, path: &str, body: &str) -> Result<Option<Answer>, Failed> {
        let url = format!("http://{}{path}", self.client);
        let sent = match method {
            "GET" => self.agent.get(url).call(),
            "DELETE" => self.agent.delete(url).call(),
            "PUT" => self.agent.put(url).send(body),
            _ => self.agent.post(url).send(body),
        };
        let answer = Answer::read(sent.map_err(|error| Failed(error.to_string()))?)?;
        match answer.status {
            StatusCode::OK => Ok(Some(answer)),
            StatusCode::NOT_FOUND => Ok(None),
            status => Err(Failed(format!("{status}: {}", answer.text.trim_end()))),
        }
    }
}

struct Answer {
    status: StatusCode,
    revision: Option<u64>,
    text: String,
}

impl Answer {
    fn read(mut response: Response<ureq::Body>) -> Result<Self, Failed> {
        let revision =
            response.headers().get("X-Revision").and_then(|value| value.to_str().ok()?.parse().ok());
        let text = response.body_mut().read_to_string().map_err(|error| Failed(error.to_string()))?;
        Ok(Self { status: response.status(), revision, text })
    }
}

fn parse(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("no JSON, {error}: {text}"))
}

/// etcd's gateway writes numbers as strings, and leaves out what is 0.
fn number(value: &Value) -> u64 {
    value.as_str().map_or(0, |text| text.parse().expect("a number"))
}

fn decode(value: &Value) -> String {
    let bytes = BASE64.decode(value.as_str().unwrap_or_default()).expect("base64");
    String::from_utf8(bytes).expect("tests write text")
}
