//! How fast chunked framing is undone: `cargo bench --bench chunked`. Without `--bench` (as
//! `cargo test --benches` runs it) each case runs once, so that the program cannot rot.

use std::hint::black_box;
use std::time::{Duration, Instant};

use raftring::proto::http::body::{BodyDecoder, BodyState, Marks};
use raftring::proto::http::head::Framing;
use raftring::proto::http::{CHUNK_HEADER_BYTES, CHUNK_TRAILER, write_chunk_header};

/// What one read brings at most: the largest pooled block.
const READ_BYTES: usize = 256 << 10;

/// Long enough for a stable figure, short enough for a shared machine.
const MEASURED: Duration = Duration::from_millis(300);

fn main() {
    let measure = std::env::args().any(|arg| arg == "--bench");
    println!("{:>12} {:>12} {:>12} {:>14}", "chunk bytes", "ns/chunk", "GB/s wire", "moved/payload");
    for chunk in [1, 64, 2048, 16 << 10, 128 << 10] {
        run(chunk, if measure { MEASURED } else { Duration::ZERO });
    }
}

/// Decodes one read full of chunks of `chunk` bytes, again and again.
fn run(chunk: usize, time: Duration) {
    let wire = wire_of(chunk);
    let chunks = wire.len() / (chunk + CHUNK_HEADER_BYTES + CHUNK_TRAILER.len());
    let mut buf = wire.clone();
    let (mut decoding, mut rounds, mut moved) = (Duration::ZERO, 0_u32, 0);
    let begin = Instant::now();
    loop {
        // The copy stands for the kernel's and is not counted.
        buf.copy_from_slice(&wire);
        let mut marks = Marks { filled: wire.len(), ..Marks::default() };
        let mut decoder = BodyDecoder::new(Framing::Chunked);
        let start = Instant::now();
        let state = decoder.advance(black_box(&mut buf), &mut marks);
        decoding += start.elapsed();
        rounds += 1;
        moved = decoder.moved_bytes().max(moved);
        assert_eq!(state, Ok(BodyState::Open));
        assert_eq!(marks.end - marks.start, chunks * chunk);
        if begin.elapsed() >= time {
            break;
        }
    }
    let ns = decoding.as_nanos() as f64 / f64::from(rounds);
    println!(
        "{chunk:>12} {:>12.1} {:>12.2} {:>14.3}",
        ns / chunks as f64,
        wire.len() as f64 / ns,
        moved as f64 / (chunks * chunk) as f64
    );
}

fn wire_of(chunk: usize) -> Vec<u8> {
    let mut header = [0; CHUNK_HEADER_BYTES];
    write_chunk_header(&mut header, chunk as u32);
    let one = [header.as_slice(), &vec![7; chunk], CHUNK_TRAILER].concat();
    one.repeat((READ_BYTES / one.len()).max(1))
}
