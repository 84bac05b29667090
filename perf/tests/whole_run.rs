//! A whole run through the seam, with a player whose transport is a channel a member: proves the
//! load, the meter and the report together, and shows what a player has to do.

use std::collections::HashMap;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use anyhow::Result;
use raftring::Spin;
use raftring::raftpb::Message;
use raftring_perf::load::Load;
use raftring_perf::message::member_id;
use raftring_perf::meter::Meter;
use raftring_perf::plan::{Host, Mode, Pace, Plan};
use raftring_perf::player::{self, Player, wait_until};
use raftring_perf::progress::Progress;
use raftring_perf::report::Report;
use raftring_perf::result_line::ResultLine;
use raftring_perf::{drive, rtt};

/// One channel a member, by id.
type Wires = HashMap<u64, Sender<Vec<Message>>>;

struct Channels;

impl Player for Channels {
    fn name(&self) -> &'static str {
        "channels"
    }

    fn play(&self, plan: &Plan, meter: &Arc<Meter>, watch: &mut dyn FnMut()) -> Result<()> {
        let (mut wires, mut receivers) = (Wires::new(), Vec::<Receiver<Vec<Message>>>::new());
        for member in 0..=plan.followers {
            let (sender, receiver) = channel();
            wires.insert(member_id(member), sender);
            receivers.push(receiver);
        }
        let wires = Arc::new(wires);
        let leader = Arc::new(rtt::Leader::new(plan, meter));
        let mut members = Vec::new();
        for (member, receiver) in receivers.into_iter().enumerate() {
            let (wires, meter, leader, mode) = (wires.clone(), meter.clone(), leader.clone(), plan.mode);
            members.push(thread::spawn(move || {
                let mut out = Vec::new();
                // An empty batch ends a member: the channels of all of them refer to each other.
                for batch in receiver.iter().take_while(|batch: &Vec<Message>| !batch.is_empty()) {
                    match member {
                        0 => leader.process(&batch, &mut out),
                        _ if mode == Mode::Push => meter.processed(member - 1, &batch),
                        _ => rtt::answer(&meter, member - 1, &batch, &mut out),
                    }
                    send(&wires, &mut out);
                }
            }));
        }
        for follower in 0..plan.followers {
            send(&wires, &mut vec![meter.messages.hello(follower)]);
        }
        wait_until("the hellos arrive", Duration::from_secs(5), || {
            (0..plan.followers).all(|follower| meter.hellos(follower) > 0)
        })?;
        let load = start_load(plan, meter, &leader, &wires);
        watch();
        if let Some(load) = load {
            load.join().expect("the load ends when the run is over");
        }
        wires.values().for_each(|wire| wire.send(Vec::new()).expect("it listens until this"));
        members.into_iter().for_each(|member| member.join().expect("members do not panic"));
        Ok(())
    }
}

fn send(wires: &Wires, batch: &mut Vec<Message>) {
    let mut by_member: HashMap<u64, Vec<Message>> = HashMap::new();
    for message in batch.drain(..) {
        by_member.entry(message.to.expect("every message has an address")).or_default().push(message);
    }
    for (id, messages) in by_member {
        // A member that has ended takes no more.
        let _ = wires[&id].send(messages);
    }
}

fn start_load(
    plan: &Plan,
    meter: &Arc<Meter>,
    leader: &rtt::Leader,
    wires: &Arc<Wires>,
) -> Option<thread::JoinHandle<()>> {
    if plan.mode == Mode::Rtt {
        send(wires, &mut leader.start());
        return None;
    }
    let (mut load, wires, host) = (Load::new(plan, meter), wires.clone(), plan.host);
    Some(thread::spawn(move || match host {
        Host::Thread => drive::on_thread(&mut load, |batch| send(&wires, &mut batch.drain().collect())),
        Host::Core => on_one_task(&mut load, &wires),
    }))
}

/// A core of one task: its signal is a channel, and its `wait` is ready once that has something.
fn on_one_task(load: &mut Load, wires: &Wires) {
    let (ring, rung) = channel();
    let ring = Mutex::new(ring);
    let wake = move || {
        // Nobody listens any more once the run is over.
        let _ = ring.lock().expect("wakes do not panic").send(());
    };
    load.meter().credits.wake_with(Box::new(wake));
    let wait = async || {
        rung.recv().expect("the meter holds the other end");
        while rung.try_recv().is_ok() {}
    };
    let task = std::pin::pin!(drive::on_core(load, |batch| send(wires, &mut batch.to_vec()), wait));
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(task.poll(&mut context).is_ready(), "every wait blocks, so nothing is ever pending");
}

fn run(mode: Mode, host: Host, pace: Option<Pace>) -> ResultLine {
    let plan = Plan {
        mode,
        host,
        followers: 3,
        entry_size: 100,
        entries_per_message: 2,
        window: 128,
        pace,
        duration: Duration::from_millis(150),
        warmup: Duration::from_millis(30),
        spin: Spin::Never,
        cores: vec![0],
        black_hole: false,
    };
    plan.check().expect("a good plan");
    let outcome = player::run(&Channels, &plan, &Progress::to_terminal()).expect("it plays");
    let result = Report::new(Channels.name(), &plan, &outcome).result;
    assert_eq!(result.dropped, 0);
    assert_eq!(result.to_string().parse::<ResultLine>().expect("a good line").mode, mode.to_string());
    let entries = result.msgs_per_s * 2.0;
    assert!((result.entries_per_s - entries).abs() < 1.0);
    assert!((result.bytes_per_s - entries * 100.0).abs() < 100.0);
    assert!(result.p50_us <= result.max_us && result.max_us > Some(0.0));
    result
}

#[test]
fn a_push_flows_from_a_thread_and_from_a_core() {
    for host in [Host::Thread, Host::Core] {
        assert!(run(Mode::Push, host, None).msgs_per_s > 10_000.0);
    }
}

#[test]
fn a_rate_is_offered_to_each_follower() {
    for host in [Host::Thread, Host::Core] {
        let result = run(Mode::Push, host, Some(Pace { rate: 4_000, burst: 8 }));
        let offered = 3.0 * 4_000.0;
        // A machine that stalls may lag, but nothing may run ahead of the schedule for long.
        assert!(result.msgs_per_s < 1.3 * offered && result.msgs_per_s > 0.3 * offered, "{result}");
    }
}

#[test]
fn messages_circle() {
    let result = run(Mode::Rtt, Host::Core, None);
    assert!(result.msgs_per_s > 100.0, "{result}");
}
