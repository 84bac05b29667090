//! Stop, from every state: it comes to its end in time and leaves no task, operation, block or
//! descriptor behind.
#![cfg(feature = "io")]

#[path = "../common/mod.rs"]
mod common;
mod scene;

use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use common::{CLUSTER, Host, Member, app, wait_until};
use raftring::{Config, Ending, Event, Placement, Transport};
use scene::{
    IN_TIME, alone, any, at_once, check, odd_pair, pair, patient, request, say, stop, wait_for_operations,
};

#[test]
fn while_a_dial_gets_no_answer_from_the_network() {
    check(|cores| {
        // A listener whose queue is full drops what else comes, as a firewall does.
        let socket =
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
        socket.bind(&any().into()).expect("a free port");
        socket.listen(0).expect("it listens");
        let address = socket.local_addr().expect("bound").as_socket().expect("IPv4");
        let fill = || TcpStream::connect_timeout(&address, Duration::from_millis(200));
        let _queued: Vec<_> = std::iter::repeat_with(fill).take_while(Result::is_ok).collect();
        let one = patient(cores);
        one.transport().add_peer(2, [format!("http://{address}")]).expect("a good peer");
        wait_for_operations(cores, 2);
        stop(&one);
    });
}

#[test]
fn while_a_dial_gets_no_answer_from_the_member() {
    check(|cores| {
        let silent = TcpListener::bind(any()).expect("a free port");
        let one = patient(cores);
        let url = format!("http://{}", silent.local_addr().expect("bound"));
        one.transport().add_peer(2, [url]).expect("a good peer");
        let _accepted = [silent.accept().expect("a dial"), silent.accept().expect("a dial")];
        wait_for_operations(cores, 2);
        stop(&one);
    });
}

#[test]
fn while_a_handshake_is_not_whole() {
    check(|cores| {
        let one = patient(cores);
        let _halves = ["", "GET /raft", "POST /raft HTTP/1.1\r\n"].map(|half| say(&one, half));
        wait_for_operations(cores, 3);
        stop(&one);
    });
}

#[test]
fn while_a_write_is_stalled() {
    check(|cores| {
        let one = patient(cores);
        one.transport().add_peer(2, ["http://127.0.0.1:1"]).expect("a good peer");
        let _unread = say(&one, &request("msgapp"));
        wait_until("it is up", || one.host.saw(|event| matches!(event, Event::StreamUp { .. })));
        let mut message = app(1, 1);
        message.entries[0].data = Some(vec![7; 64 << 10].into());
        wait_until("it is stalled", || {
            one.transport().send(std::iter::repeat_n(message.clone(), 16));
            one.transport().queued(2).0 > 100
        });
        stop(&one);
    });
}

#[test]
fn while_connections_are_handed_over() {
    check(|cores| {
        let one = Member::start(1, cores, any(), |config| config.placement = Placement::Core(0));
        let far = cores.count() - 1;
        one.transport().add_peer_on(far, 2, ["http://127.0.0.1:1"]).expect("a good peer");
        // The connections wait as letters, as long as the core does not look.
        let busy = || async { std::thread::sleep(Duration::from_millis(300)) };
        cores.spawn(far, busy).expect("a core");
        let _streams = ["msgapp", "message"].map(|stream| say(&one, &request(stream)));
        std::thread::sleep(Duration::from_millis(100));
        stop(&one);
    });
}

#[test]
fn while_a_host_takes_no_more() {
    check(|cores| {
        let pair = odd_pair(cores, |_| ());
        assert_eq!(pair.one.transport().send((1..=1_000).map(|index| app(index, 1))).accepted, 1_000);
        wait_until("it is waited for", || {
            (0..cores.count()).any(|core| cores.stats(core).expect("a core").host_full_waits > 0)
        });
        stop(&pair.two);
        stop(&pair.one);
    });
}

#[test]
fn from_inside_of_process() {
    check(|cores| {
        let transport: Arc<Mutex<Option<Transport>>> = Arc::default();
        let ending: Arc<OnceLock<Ending>> = Arc::default();
        let (own, of_host) = (Arc::clone(&transport), Arc::clone(&ending));
        let pair = odd_pair(cores, move |messages| {
            messages.clear();
            if let Some(own) = own.lock().expect("no panic").take() {
                let _ = of_host.set(own.stop());
            }
        });
        *transport.lock().expect("no panic") = Some(pair.two.transport().clone());
        assert_eq!(pair.one.transport().send((1..=100).map(|index| app(index, 1))).accepted, 100);
        wait_until("it stops itself", || ending.get().is_some_and(Ending::is_complete));
        stop(&pair.one);
    });
}

#[test]
fn twice_at_once() {
    check(|cores| {
        let pair = pair(cores);
        at_once(|| stop(&pair.one), || stop(&pair.one));
        stop(&pair.two);
    });
}

#[test]
fn while_a_peer_is_removed_or_moved() {
    check(|cores| {
        for round in 0..10 {
            let pair = pair(cores);
            let one = pair.one.transport();
            at_once(
                || {
                    // Either may come too late, and then there is nothing to do.
                    let moved = one.move_peer(2, round % cores.count());
                    assert!(moved.map_or(true, |ending| ending.wait(IN_TIME)));
                    assert!(one.remove_peer(2).wait(IN_TIME));
                },
                || stop(&pair.one),
            );
            stop(&pair.two);
        }
    });
}

#[test]
fn of_the_cores_before_their_transports() {
    alone(|cores| {
        let pair = pair(cores);
        // The pair is the closure's: if it panics the transports stop, and the thread ends.
        std::thread::scope(move |scope| {
            let ends = scope.spawn(|| cores.stop());
            wait_until("they take nobody in", || {
                let refused = Transport::start(Config::new(9, CLUSTER), cores, Host::new());
                refused.map(|started| started.stop()).is_err()
            });
            pair.one.transport().send([app(1, 1)]);
            assert!(pair.two.host.next(IN_TIME).is_some(), "they go on until nobody needs them");
            stop(&pair.one);
            stop(&pair.two);
            ends.join().expect("they end with the last transport");
        });
    });
}
