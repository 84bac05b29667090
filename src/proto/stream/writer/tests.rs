use super::*;
use crate::proto::codec::{Encoder, VecSink};
use crate::proto::http::CHUNK_HEADER_BYTES;
use crate::raftpb::{Entry, MessageType};

const INTERVAL: Duration = Duration::from_millis(1_667);
const STALL: Duration = Duration::from_secs(5);
const MS: Duration = Duration::from_millis(1);
const LOCAL: MemberId = MemberId(1);
const REMOTE: MemberId = MemberId(2);

fn writer(kind: StreamKind) -> (StreamWriter, Instant) {
    let config = StreamWriterConfig {
        kind,
        dialect: Dialect::V3_7,
        local: LOCAL,
        remote: REMOTE,
        heartbeat_interval: INTERVAL,
        stall_timeout: STALL,
    };
    let start = Instant::now();
    (StreamWriter::new(config, Pool::new(), start), start)
}

fn attached(kind: StreamKind) -> (StreamWriter, Instant) {
    let (mut writer, start) = writer(kind);
    writer.attach(BodyFraming::Chunked);
    (writer, start)
}

/// An append that continues behind `index` in term 3.
fn append(index: u64, data: usize) -> Message {
    let data = Some(vec![7; data].into());
    let entry = Entry { r#type: Some(0), term: Some(3), index: Some(index + 1), data };
    Message {
        r#type: Some(MessageType::MsgApp as i32),
        from: Some(LOCAL.0),
        to: Some(REMOTE.0),
        term: Some(3),
        log_term: Some(3),
        index: Some(index),
        entries: vec![entry],
        ..Message::default()
    }
}

/// The type bytes of frames that fit one chunk with nothing else.
fn first_type(chain: &Chain) -> u8 {
    chain.to_vec()[CHUNK_HEADER_BYTES]
}

#[test]
fn an_idle_writer_is_not_picked_and_sends_nothing() {
    let (mut writer, start) = writer(StreamKind::Message);
    assert!(!writer.is_working() && !writer.has_room() && !writer.is_quiet() && !writer.is_finished());
    writer.lane_drained();
    writer.end();
    assert_eq!(writer.handle_timeout(start + 10 * INTERVAL), Ok(()));
    assert!(writer.poll_transmit(start + 10 * INTERVAL).is_none());
    assert_eq!((writer.detach().total(), writer.counters()), (0, WriterCounters::default()));
}

#[test]
fn each_connection_starts_the_codec_and_the_body_anew() {
    let (mut writer, now) = attached(StreamKind::Msgapp);
    let mut second = Vec::new();
    for round in 0..2 {
        for (index, want) in [(10, 2), (11, 1)] {
            writer.push(&append(index, 1));
            writer.lane_drained();
            let chain = writer.poll_transmit(now).expect("drained");
            assert_eq!(first_type(&chain), want, "round {round}");
            second.push(chain.to_vec());
            writer.handle_written();
        }
        writer.push(&append(12, 1)); // dies with its connection
        assert_eq!(writer.detach().total(), 1);
        writer.attach(BodyFraming::Chunked);
        assert!(writer.is_quiet() && writer.poll_transmit(now).is_none());
    }
    assert_eq!(second[..2], second[2..]);
}

#[test]
fn a_chain_holds_the_frames_in_order_in_one_chunk() {
    let (mut writer, now) = attached(StreamKind::Msgapp);
    let mut encoder = Encoder::new(StreamKind::Msgapp, LOCAL, REMOTE, Dialect::V3_7);
    let mut want = VecSink::default();
    for index in 0..20 {
        let message = append(index, 1_000 * index as usize);
        writer.push(&message);
        encoder.encode(&message, &mut want);
    }
    writer.lane_drained();
    let wire = writer.poll_transmit(now).expect("drained").to_vec();
    let header = format!("{:08x}\r\n", want.bytes.len());
    assert_eq!(wire, [header.as_bytes(), &want.bytes, b"\r\n"].concat());
}

#[test]
fn the_heartbeat_clock_runs_from_the_beginning_and_over_all_connections() {
    let (mut writer, start) = writer(StreamKind::Msgapp);
    assert_eq!(writer.poll_timeout(), start + INTERVAL);
    writer.attach(BodyFraming::Chunked);
    assert_eq!(writer.poll_timeout(), start + INTERVAL, "whenever the connection came");
    assert_eq!(writer.handle_timeout(start + INTERVAL - MS), Ok(()));
    assert!(writer.poll_transmit(start).is_none());

    assert_eq!(writer.handle_timeout(start + INTERVAL), Ok(()));
    let chain = writer.poll_transmit(start + INTERVAL).expect("a heartbeat is urgent");
    assert_eq!(chain.to_vec(), b"00000001\r\n\0\r\n");
    writer.handle_written();
    writer.detach();
    assert_eq!(writer.handle_timeout(start + 2 * INTERVAL), Ok(()));
    writer.attach(BodyFraming::Chunked);
    assert!(writer.poll_transmit(start + 2 * INTERVAL).is_none(), "nobody was there to get it");
    assert_eq!(writer.poll_timeout(), start + 3 * INTERVAL);
    assert_eq!(writer.counters().heartbeats, 1);
}

#[test]
fn a_late_tick_is_followed_by_a_whole_interval() {
    let (mut writer, start) = attached(StreamKind::Message);
    let late = start + 3 * INTERVAL + MS;
    assert_eq!(writer.handle_timeout(late), Ok(()));
    assert_eq!((writer.counters().heartbeats, writer.poll_timeout()), (1, late + INTERVAL));
}

#[test]
fn a_busy_stream_has_heartbeats_too() {
    let (mut writer, start) = attached(StreamKind::Message);
    writer.push(&append(0, 1));
    writer.lane_drained();
    let _in_flight = writer.poll_transmit(start).expect("drained");
    writer.push(&append(1, 1));
    assert_eq!(writer.handle_timeout(start + INTERVAL), Ok(()));
    writer.handle_written();
    let chain = writer.poll_transmit(start + INTERVAL).expect("urgent, though the lane is not drained");
    assert!(chain.to_vec().ends_with(b"\0\0\0\0\0\0\0\x02\x08\x08\r\n"));
    assert_eq!(writer.counters().flushes, [1, 0, 0, 1]);
}

#[test]
fn heartbeats_do_not_gather_behind_a_write_that_creeps() {
    let (mut writer, start) = attached(StreamKind::Message);
    writer.push(&append(0, 1));
    writer.lane_drained();
    let mut in_flight = writer.poll_transmit(start).expect("drained");
    for tick in 1..=20 {
        let now = start + tick * INTERVAL;
        in_flight.advance(1);
        writer.handle_progress(now);
        assert_eq!(writer.handle_timeout(now), Ok(()));
    }
    assert_eq!(writer.counters().heartbeats, 1);
    writer.handle_written();
    let chain = writer.poll_transmit(start + 20 * INTERVAL).expect("one heartbeat");
    assert_eq!(chain.len(), 10 + 10 + 2);
    writer.handle_written();
    assert_eq!(writer.handle_timeout(start + 21 * INTERVAL), Ok(()));
    assert_eq!(writer.counters().heartbeats, 2, "the next one is on time again");
}

#[test]
fn what_is_encoded_leaves_when_the_lane_is_drained() {
    let (mut writer, now) = attached(StreamKind::Message);
    writer.push(&append(0, 1));
    assert!(writer.poll_transmit(now).is_none(), "more may come");
    writer.lane_drained();
    assert!(writer.poll_transmit(now).is_some());
    assert_eq!(writer.counters().flushes, [1, 0, 0, 0]);
    assert_eq!(writer.counters().flushed_bytes, 2 + 2 + 2 + 2 + 2 + 2 + (2 + 9));
}

#[test]
fn more_than_half_a_lane_of_messages_leaves_though_the_lane_is_not_drained() {
    let (mut writer, now) = attached(StreamKind::Message);
    // Messages so small that half a lane of them is less than half a buffer.
    let answer = Message { entries: Vec::new(), index: None, ..append(0, 0) };
    for _ in 0..FLUSH_MESSAGES {
        writer.push(&answer);
        assert!(writer.poll_transmit(now).is_none());
    }
    writer.push(&answer);
    assert!(writer.poll_transmit(now).is_some());
    assert_eq!(writer.counters().flushes, [0, 1, 0, 0]);
}

#[test]
fn more_than_half_a_buffer_of_bytes_leaves_though_the_lane_is_not_drained() {
    let (mut writer, now) = attached(StreamKind::Message);
    let frame = 32 << 10;
    let overhead = {
        let mut sink = VecSink::default();
        Encoder::new(StreamKind::Message, LOCAL, REMOTE, Dialect::V3_7).encode(&append(0, frame), &mut sink);
        sink.bytes.len() - frame
    };
    // Two frames and the chunk header are exactly at the line.
    let last = FLUSH_BYTES - CHUNK_HEADER_BYTES - frame - 2 * overhead;
    writer.push(&append(0, frame));
    writer.push(&append(0, last));
    assert!(writer.poll_transmit(now).is_none());
    writer.push(&append(0, 0));
    assert!(writer.poll_transmit(now).expect("over the line").len() > FLUSH_BYTES);
    assert_eq!(writer.counters().flushes, [0, 0, 1, 0]);
}

#[test]
fn one_chain_is_in_flight_while_the_next_one_fills() {
    let (mut writer, now) = attached(StreamKind::Message);
    writer.push(&append(0, 1));
    writer.lane_drained();
    let first = writer.poll_transmit(now).expect("drained");
    writer.push(&append(1, 1));
    writer.push(&append(2, 1));
    writer.lane_drained();
    assert!(writer.poll_transmit(now).is_none());
    writer.handle_progress(now);
    assert!(writer.poll_transmit(now).is_none(), "a part of it is written, not all");
    writer.handle_written();
    let second = writer.poll_transmit(now).expect("the next");
    assert!(second.len() > first.len());
    assert!(!writer.is_quiet());
    writer.handle_written();
    assert!(writer.is_quiet());
}

#[test]
fn room_ends_with_the_bytes_that_wait_and_comes_back_when_they_leave() {
    let (mut writer, now) = attached(StreamKind::Message);
    writer.push(&append(0, 1));
    writer.lane_drained();
    let _in_flight = writer.poll_transmit(now).expect("drained");
    let mut pushed = 0;
    while writer.has_room() {
        writer.push(&append(0, 100 << 10));
        pushed += 1;
    }
    assert_eq!(pushed, (ENCODED_BYTES_MAX - 1) / ((100 << 10) + 30) + 1);
    writer.handle_written();
    assert!(!writer.has_room());
    assert!(writer.poll_transmit(now).is_some());
    assert!(writer.has_room());
}

#[test]
fn payloads_by_reference_have_more_room_where_no_heartbeat_waits_behind_them() {
    for (size, bytes_max) in [(100 << 10, REFERRED_BYTES_MAX), (3 << 10, ENCODED_BYTES_MAX)] {
        let (mut writer, _) = attached(StreamKind::Msgapp);
        let mut pushed = 0;
        while writer.has_room() {
            writer.push(&append(0, size));
            pushed += 1;
        }
        let expected = bytes_max / size;
        assert!((expected - 20..=expected + 1).contains(&pushed), "{pushed} of {size} bytes");
    }
}

#[test]
fn a_detach_tells_what_was_encoded_and_is_not_known_to_be_written() {
    let (mut writer, now) = attached(StreamKind::Message);
    for _ in 0..3 {
        writer.push(&append(0, 1));
    }
    writer.lane_drained();
    let _written = writer.poll_transmit(now).expect("drained");
    writer.handle_written();
    for _ in 0..5 {
        writer.push(&append(0, 1));
    }
    writer.lane_drained();
    let _in_flight = writer.poll_transmit(now).expect("drained");
    writer.handle_progress(now);
    writer.push(&append(0, 1));
    writer.push(&append(0, 1));
    assert_eq!(writer.detach().total(), 5 + 2);
    assert_eq!(writer.detach().total(), 0);
    assert!(!writer.is_working());
    assert_eq!(writer.counters().messages, 10);
}

#[test]
fn a_heartbeat_is_no_lost_message() {
    let (mut writer, start) = attached(StreamKind::Message);
    assert_eq!(writer.handle_timeout(start + INTERVAL), Ok(()));
    assert_eq!(writer.detach().total(), 0);
}

#[test]
fn an_end_is_behind_everything_that_was_encoded() {
    let (mut writer, now) = attached(StreamKind::Msgapp);
    writer.push(&append(0, 1));
    writer.lane_drained();
    let _in_flight = writer.poll_transmit(now).expect("drained");
    writer.push(&append(1, 1));
    writer.end();
    assert!(!writer.is_working() && !writer.has_room() && !writer.is_finished());
    assert_eq!(writer.handle_timeout(now + INTERVAL), Ok(()), "and no heartbeat comes behind it");
    writer.end();
    writer.handle_written();
    let last = writer.poll_transmit(now).expect("urgent, though the lane is not drained");
    assert_eq!(first_type(&last), 1);
    assert!(last.to_vec().ends_with(b"\r\n0\r\n\r\n"));
    assert_eq!(last.to_vec().windows(5).filter(|w| w == b"0\r\n\r\n").count(), 1);
    assert!(!writer.is_finished());
    writer.handle_written();
    assert!(writer.is_finished());
    assert_eq!(writer.detach().total(), 0);
}

#[test]
fn a_body_without_framing_ends_with_its_connection() {
    let (mut writer, now) = writer(StreamKind::Msgapp);
    writer.attach(BodyFraming::UntilClose);
    writer.end();
    assert!(writer.is_finished() && writer.poll_transmit(now).is_none());
}

#[test]
fn a_write_that_moves_nothing_for_too_long_has_stalled() {
    let (mut writer, start) = attached(StreamKind::Message);
    writer.push(&append(0, 1));
    writer.lane_drained();
    let _in_flight = writer.poll_transmit(start).expect("drained");
    assert_eq!(writer.handle_timeout(start + INTERVAL), Ok(()));
    let moved = start + Duration::from_secs(2);
    writer.handle_progress(moved);
    assert_eq!(writer.handle_timeout(start + STALL), Ok(()), "the clock started anew");
    assert_eq!(writer.handle_timeout(moved + STALL - MS), Ok(()));
    assert_eq!(writer.poll_timeout(), moved + STALL, "before the next heartbeat is due");
    assert_eq!(writer.handle_timeout(moved + STALL), Err(Stalled));
    writer.handle_written();
    assert_eq!(writer.handle_timeout(moved + STALL), Ok(()), "what is written does not stall");
}

#[test]
#[should_panic(expected = "the old connection is detached first")]
fn two_connections_at_once_are_a_mistake_of_the_caller() {
    let (mut writer, _) = attached(StreamKind::Message);
    writer.attach(BodyFraming::Chunked);
}
