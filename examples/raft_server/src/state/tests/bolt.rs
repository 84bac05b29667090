//! The reader of bbolt's files, on files that are made here: small, and every way wrong.

use std::io::Write;
use std::path::PathBuf;

use proptest::prelude::*;

use crate::state::bolt::Bolt;

const PAGE: usize = 1024;
const VALUES: usize = 40;

fn page(id: u64, flags: u16, elements: &[Vec<u8>], data: &[u8], pages: usize) -> Vec<u8> {
    let mut page = id.to_le_bytes().to_vec();
    page.extend(flags.to_le_bytes());
    page.extend((elements.len() as u16).to_le_bytes());
    page.extend((pages as u32 - 1).to_le_bytes());
    elements.iter().for_each(|element| page.extend(element));
    page.extend(data);
    assert!(page.len() <= pages * PAGE);
    page.resize(pages * PAGE, 0);
    page
}

fn leaf(id: u64, flags: u32, pairs: &[(Vec<u8>, Vec<u8>)], pages: usize) -> Vec<u8> {
    let (mut elements, mut data) = (Vec::new(), Vec::new());
    for (index, (key, value)) in pairs.iter().enumerate() {
        let position = (pairs.len() - index) * 16 + data.len();
        let fields = [flags, position as u32, key.len() as u32, value.len() as u32];
        elements.push(fields.iter().flat_map(|field| field.to_le_bytes()).collect());
        data.extend([&key[..], value].concat());
    }
    page(id, 2, &elements, &data, pages)
}

fn meta(id: u64, root: u64, transaction: u64) -> Vec<u8> {
    let mut meta = Vec::new();
    for field in [0xed0c_daed_u32, 2, PAGE as u32, 0] {
        meta.extend(field.to_le_bytes());
    }
    for field in [root, 0, u64::MAX, 9, transaction] {
        meta.extend(field.to_le_bytes());
    }
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in &meta {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    }
    meta.extend(hash.to_le_bytes());
    page(id, 4, &[], &meta, 1)
}

type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

fn pairs(from: usize, to: usize) -> Pairs {
    (from..to).map(|n| (format!("key {n:03}").into_bytes(), vec![n as u8; n])).collect()
}

/// Two buckets: `tree`, a branch with leaves at pages 4 and 6, the second one of two pages; and `inline`.
fn database() -> Vec<u8> {
    let child = |index: usize, key: &[u8], id: u64, before: usize| {
        let position = ((2 - index) * 16 + before) as u32;
        [&position.to_le_bytes()[..], &(key.len() as u32).to_le_bytes(), &id.to_le_bytes()].concat()
    };
    let branch = [child(0, b"key 000", 4, 0), child(1, b"key 020", 6, 7)];
    let mut inline = leaf(0, 0, &pairs(1, 3), 1);
    inline.truncate(100);
    let root = [
        (b"inline".to_vec(), [&[0; 16][..], &inline].concat()),
        (b"tree".to_vec(), [&3_u64.to_le_bytes()[..], &[0; 8]].concat()),
    ];
    [
        meta(0, 2, 7),
        meta(1, 8, 6),
        leaf(2, 1, &root, 1),
        page(3, 1, &branch, b"key 000key 020", 1),
        leaf(4, 0, &pairs(0, 20), 1),
        vec![0; PAGE],
        leaf(6, 0, &pairs(20, VALUES), 2),
        leaf(8, 1, &[], 1),
    ]
    .concat()
}

fn file(bytes: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("db");
    std::fs::File::create(&path).and_then(|mut file| file.write_all(bytes)).expect("a file");
    (dir, path)
}

/// All pairs of a bucket; `None` if there is none.
fn read(bytes: &[u8], bucket: &str) -> anyhow::Result<Option<Pairs>> {
    let (_dir, path) = file(bytes);
    let mut pairs = Vec::new();
    let found = Bolt::open(&path)?.for_each(bucket, |key, value| {
        pairs.push((key.to_vec(), value.to_vec()));
        Ok(())
    })?;
    Ok(found.then_some(pairs))
}

#[test]
fn a_bucket_is_read_whether_it_is_a_tree_or_inline() {
    let bytes = database();
    assert_eq!(read(&bytes, "tree").expect("sound"), Some(pairs(0, VALUES)));
    assert_eq!(read(&bytes, "inline").expect("sound"), Some(pairs(1, 3)));
    assert_eq!(read(&bytes, "none").expect("sound"), None);
}

#[test]
fn the_later_transaction_counts_unless_it_is_torn() {
    let mut bytes = database();
    // Page 0, of transaction 7, has the root with the buckets; page 1, of 6, an empty one.
    bytes[20] ^= 1;
    assert_eq!(read(&bytes, "tree").expect("page 1 is sound"), None);
    bytes[PAGE + 20] ^= 1;
    assert!(read(&bytes, "tree").is_err());
    // A later one that is older than it says.
    let mut bytes = database();
    bytes[PAGE..2 * PAGE].copy_from_slice(&meta(1, 8, 8));
    assert_eq!(read(&bytes, "tree").expect("sound"), None);
}

#[test]
fn a_file_that_is_too_short_is_refused() {
    let bytes = database();
    for length in 0..bytes.len() {
        if length % 97 == 0 || length % PAGE == 0 || length + 1 == bytes.len() {
            assert!(read(&bytes[..length], "tree").is_err(), "{length} bytes");
        }
    }
    assert!(read(&[&bytes[..], b"a checksum of etcdctl's"].concat(), "tree").is_ok());
}

#[test]
fn pages_that_go_round_in_a_circle_are_noticed() {
    let mut bytes = database();
    let child = 3 * PAGE + 16 + 8;
    bytes[child..child + 8].copy_from_slice(&3_u64.to_le_bytes());
    let error = read(&bytes, "tree").expect_err("page 3 is its own child");
    assert!(error.to_string().contains("circle"), "{error}");
}

proptest! {
    #[test]
    fn no_damage_ends_it(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        let mut bytes = database();
        for (at, with) in changes {
            // What is read: heads and elements, not values.
            let at = at.index(9 * 96);
            let at = at / 96 * PAGE + at % 96;
            bytes[at] = with;
        }
        for bucket in ["tree", "inline"] {
            let _ = read(&bytes, bucket);
        }
    }
}
