//! Every row of the server's checks (protocol sections 5.2 and 4.5), over a socket.

use std::io::Write;

use crate::client::{Request, answer, connect, read_head, without_date};
use crate::server::{Attacked, nobody};

const STREAM: &str = "/raft/stream/message/2";

fn refusal(status: &str, text: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\nX-Content-Type-Options: nosniff\r\n\
         X-Etcd-Cluster-Id: 1a2b\r\nX-Server-Version: 3.5.0\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{text}\n",
        text.len() + 1
    )
}

#[test]
fn a_refused_dial_is_answered_as_etcd_answers_it() {
    let attacked = Attacked::start();
    let (url, _closed) = nobody();
    attacked.add_attacker(&url);
    attacked.one.host.removed.lock().expect("no panic").push(7.into());
    let dial = || Request::stream(STREAM);
    let at = Request::stream;
    let not_found = "404 Not Found";
    let failed = "412 Precondition Failed";
    let rows = [
        (dial().header("X-Server-Version", "2.3.0"), failed, "incompatible version"),
        (dial().header("X-Server-Version", ""), failed, "incompatible version"),
        (dial().header("X-Min-Cluster-Version", "9.0.0"), failed, "incompatible version"),
        (dial().header("X-Server-Version", "3.5"), "400 Bad Request", "bad version header"),
        (dial().header("X-Etcd-Cluster-Id", "1a2c"), failed, "cluster ID mismatch"),
        (dial().header("X-Etcd-Cluster-Id", ""), failed, "cluster ID mismatch"),
        (dial().header("X-Etcd-Cluster-Id", "01a2b"), failed, "cluster ID mismatch"),
        (at("/raft/stream/snapshot/2"), not_found, "invalid path"),
        (at("/raft/stream/2"), not_found, "invalid path"),
        (at("/raft/stream/message/x/2"), not_found, "invalid path"),
        (at("/raft/stream/message/"), not_found, "invalid from"),
        (at("/raft/stream/message/zz"), not_found, "invalid from"),
        (at("/raft/stream/message/7"), "410 Gone", "removed member"),
        (at("/raft/stream/message/9"), not_found, "error sender not found"),
        (dial().header("X-Raft-To", "3"), failed, "to field mismatch"),
        (dial().header("X-Raft-To", ""), failed, "to field mismatch"),
    ];
    for (request, status, text) in rows {
        assert_eq!(answer(attacked.address(), &request.text()), refusal(status, text), "{}", request.path);
    }
    attacked.assert_recovers();
}

#[test]
fn another_method_learns_the_right_one() {
    let attacked = Attacked::start();
    for method in ["POST", "PUT", "HEAD", "DELETE", "OPTIONS"] {
        let request = Request::stream(STREAM).method(method);
        assert_eq!(
            answer(attacked.address(), &request.text()),
            "HTTP/1.1 405 Method Not Allowed\r\nAllow: GET\r\nContent-Type: text/plain; charset=utf-8\r\n\
             X-Content-Type-Options: nosniff\r\nContent-Length: 19\r\nConnection: close\r\n\r\n\
             Method Not Allowed\n"
        );
    }
    attacked.assert_recovers();
}

#[test]
fn a_path_that_is_not_served_tells_nothing_about_the_cluster() {
    let attacked = Attacked::start();
    for path in ["/", "/raftx", "/metrics", "/raft//stream", "/RAFT", "/raft/stream"] {
        let answer = answer(attacked.address(), &Request::stream(path).text());
        assert!(answer.starts_with("HTTP/1.1 404 Not Found\r\n"), "{answer}");
        assert!(!answer.contains("1a2b") && !answer.contains("3.5.0"), "{answer}");
    }
    attacked.assert_recovers();
}

#[test]
fn an_accepted_dial_is_answered_at_once_and_stays_open() {
    let attacked = Attacked::start();
    let (url, _closed) = nobody();
    attacked.add_attacker(&url);
    for path in [STREAM, "/raft/stream/msgapp/2", "/raft/stream/msgapp/2?ignored=1"] {
        let mut stream = connect(attacked.address());
        stream.write_all(Request::stream(path).text().as_bytes()).expect("sent");
        assert_eq!(
            without_date(&read_head(&mut stream)),
            "HTTP/1.1 200 OK\r\nX-Etcd-Cluster-Id: 1a2b\r\nX-Server-Version: 3.5.0\r\n\
             Transfer-Encoding: chunked\r\n\r\n"
        );
        assert!(crate::client::is_open(&stream));
    }
    attacked.assert_recovers();
}
