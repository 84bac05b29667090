use super::*;
use crate::id::ClusterId;
use crate::proto::http::head::HeadSearch;

pub(in crate::proto) fn own() -> Identity {
    let peer_urls = PeerUrls::parse(["http://10.0.0.2:2380", "http://10.0.0.1:2380"]).expect("valid");
    Identity {
        member: MemberId(0xb),
        cluster: ClusterId(0x1a2b),
        versions: Versions::default(),
        peer_urls: Some(peer_urls),
        echoes: false,
    }
}

/// Member 1 is a peer, 2 was removed, 3 was removed and is still a peer, all others are unknown.
struct Members;

impl Membership for Members {
    fn is_id_removed(&self, id: MemberId) -> bool {
        matches!(id.0, 2 | 3)
    }

    fn is_known_peer(&self, id: MemberId) -> bool {
        matches!(id.0, 1 | 3)
    }
}

const GOOD: &str = "X-Etcd-Cluster-ID: 1a2b\r\nX-Server-Version: 3.4.23\r\n\
                    X-Min-Cluster-Version: 3.0.0\r\nX-Raft-To: b\r\n";

fn ask(line: &str, headers: &str) -> Result<Accepted, Refused> {
    let wire = format!("{line} HTTP/1.1\r\nHost: a\r\n{headers}\r\n");
    let found = HeadSearch::request().find(wire.as_bytes()).expect("acceptable");
    let head = RequestHead::parse(found.expect("whole")).expect("valid");
    accept(&head, &own(), &Members)
}

fn refusal(line: &str, headers: &str) -> (u16, String) {
    let refusal = ask(line, headers).expect_err("to be refused").refusal;
    (refusal.status(), refusal.text().into_owned())
}

fn refused(status: u16, text: &str) -> (u16, String) {
    (status, text.to_owned())
}

/// `TestServeRaftStreamPrefix`.
#[test]
fn both_streams_lead_to_the_writer_of_the_dialler() {
    for kind in StreamKind::ALL {
        for id in ["1", "0001"] {
            let line = format!("GET /raft/stream/{}/{id}?x=y", kind.path_element());
            assert_eq!(ask(&line, GOOD), Ok(Accepted::Stream { kind, peer: MemberId(1), echoes: false }));
        }
    }
}

/// Row 1 of protocol section 5.2, `TestServeRaftStreamPrefixBad`.
#[test]
fn streams_are_asked_for_with_get_alone() {
    for method in ["HEAD", "PUT", "POST", "DELETE", "OPTIONS"] {
        let line = format!("{method} /raft/stream/message/1");
        assert_eq!(refusal(&line, GOOD), refused(405, "Method Not Allowed"), "{method}");
    }
}

/// Row 3, and protocol section 4.4.
#[test]
fn versions_come_before_the_cluster() {
    let with = |headers: &str| refusal("GET /raft/stream/message/1", headers);
    let incompatible = refused(412, "incompatible version");
    assert_eq!(with(""), incompatible, "no version is 2.0");
    assert_eq!(with("X-Server-Version: 2.3.8\r\nX-Etcd-Cluster-ID: 1a2b\r\n"), incompatible);
    assert_eq!(with("X-Server-Version: 3.9.0\r\nX-Min-Cluster-Version: 3.6.0\r\n"), incompatible);
    let bad = refused(400, "bad version header");
    assert_eq!(with("X-Server-Version: 3.5\r\n"), bad);
    assert_eq!(with("X-Server-Version: 3.5.0\r\nX-Min-Cluster-Version: v3\r\n"), bad);
}

/// Row 4.
#[test]
fn cluster_ids_are_compared_as_strings() {
    let with = |id: &str| refusal("GET /raft/stream/message/1", &GOOD.replace("1a2b", id));
    for other in ["1a2c", "1A2B", "01a2b", ""] {
        assert_eq!(with(other), refused(412, "cluster ID mismatch"), "{other}");
    }
    let none = "X-Server-Version: 3.4.23\r\n";
    assert_eq!(refusal("GET /raft/stream/message/x", none), refused(412, "cluster ID mismatch"));
}

/// Rows 5 and 6.
#[test]
fn a_path_has_an_endpoint_and_an_id() {
    let get = |path: &str| refusal(&format!("GET {path}"), GOOD);
    let paths = [
        "/raft/stream/",
        "/raft/stream/strange/1",
        "/raft/stream/1",
        "/raft/stream/message/1/",
        "/raft/stream/a/message/1",
        "/raft/stream/msgappv2/1",
    ];
    for path in paths {
        assert_eq!(get(path), refused(404, "invalid path"), "{path}");
    }
    for id in ["", "x", "+1", "0x1", "10000000000000000"] {
        assert_eq!(get(&format!("/raft/stream/message/{id}")), refused(404, "invalid from"), "{id}");
    }
}

/// Rows 7 to 9.
#[test]
fn removed_members_strangers_and_the_misled_are_told_so_in_this_order() {
    let misled = GOOD.replace("To: b", "To: c");
    assert_eq!(refusal("GET /raft/stream/message/2", &misled), refused(410, "removed member"));
    assert_eq!(refusal("GET /raft/stream/message/3", &misled), refused(410, "removed member"));
    assert_eq!(refusal("GET /raft/stream/message/4", &misled), refused(404, "error sender not found"));
    assert_eq!(refusal("GET /raft/stream/message/1", &misled), refused(412, "to field mismatch"));
    for to in ["To: B", "To: 0b", "From: b"] {
        let headers = GOOD.replace("To: b", to);
        assert_eq!(refusal("GET /raft/stream/msgapp/1", &headers), refused(412, "to field mismatch"));
    }
}

/// Row 8: by the id of the path.
#[test]
fn a_stranger_on_a_stream_introduces_himself_and_is_refused() {
    let with = |id: u64, urls: &str| {
        let headers = format!("{GOOD}X-Server-From: 77\r\nX-PeerURLs: {urls}\r\n");
        ask(&format!("GET /raft/stream/message/{id:x}"), &headers).expect_err("unknown").introduction
    };
    let urls = "http://10.0.0.5:2380,http://10.0.0.4:2380";
    let peer_urls = PeerUrls::parse_header(urls).expect("valid");
    assert_eq!(with(5, urls), Some(Introduction { member: MemberId(5), peer_urls }));
    assert_eq!(with(2, urls), None, "removed");
    assert_eq!(with(0, urls), None, "nobody");
    assert_eq!(with(0xb, urls), None, "ourselves");
    assert_eq!(with(5, ""), None);
    assert_eq!(with(5, "http://10.0.0.5:2380/,x"), None, "etcd panics here");
}

/// Rows 1 to 4 of protocol section 10.2, `TestServeRaftPrefix`.
#[test]
fn messages_are_posted_and_introduce_their_sender() {
    for method in ["GET", "PUT", "DELETE"] {
        assert_eq!(refusal(&format!("{method} /raft"), GOOD), refused(405, "Method Not Allowed"));
    }
    assert_eq!(refusal("POST /raft", ""), refused(412, "incompatible version"));
    let other = GOOD.replace("1a2b", "1a2c");
    assert_eq!(refusal("POST /raft", &other), refused(412, "cluster ID mismatch"));
    assert_eq!(refusal("POST /raft/snapshot", &other), refused(412, "cluster ID mismatch"));

    let introduced = format!("{GOOD}X-Server-From: 77\r\nX-PeerURLs: http://a:1\r\n");
    let peer_urls = PeerUrls::parse(["http://a:1"]).expect("valid");
    let introduction = Some(Introduction { member: MemberId(0x77), peer_urls });
    assert_eq!(ask("POST /raft", &introduced), Ok(Accepted::Pipeline(introduction.clone())));
    assert_eq!(ask("POST /raft/snapshot", &introduced), Ok(Accepted::Snapshot(introduction)));
    assert_eq!(ask("POST /raft", GOOD), Ok(Accepted::Pipeline(None)));
    let unreadable = introduced.replace("77", "+77");
    assert_eq!(ask("POST /raft", &unreadable), Ok(Accepted::Pipeline(None)));
}

#[test]
fn nobody_introduces_a_socket_of_this_machine_unless_we_have_one() {
    let introduced = format!("{GOOD}X-Server-From: 77\r\nX-PeerURLs: http://a:1,unix://b\r\n");
    assert_eq!(ask("POST /raft", &introduced), Ok(Accepted::Pipeline(None)));
    let headers =
        PeerHeaders { peer_urls: Some("unix://b"), server_from: Some("77"), ..PeerHeaders::default() };
    let own = Identity { peer_urls: PeerUrls::parse(["unix://a"]).ok(), ..own() };
    assert!(introduction(&headers, &own, MemberId(0x77)).is_some());
}

#[test]
fn probes_need_no_headers_and_unknown_paths_do_not_exist() {
    assert_eq!(ask("GET /raft/probing", ""), Ok(Accepted::Probing));
    assert_eq!(ask("PUT /raft/probing", ""), Ok(Accepted::Probing));
    for path in ["/raft/stream", "/raft/", "/strange/1", "/strange", "/"] {
        assert_eq!(refusal(&format!("GET {path}"), GOOD), refused(404, "404 page not found"), "{path}");
        assert_eq!(ask(&format!("GET {path}"), GOOD).expect_err("unknown").endpoint, None);
    }
}
