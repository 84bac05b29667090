//! Reads databases of bbolt, etcd's store on disk. There is a port of bbolt to Rust, but it opens none of
//! etcd's: etcd on Linux keeps no list of free pages in the file, which the port does not support.
//!
//! ```text
//!   page:    id 8, flags 2, count 2, overflow 4; then its elements. It spans 1 + overflow pages.
//!   meta:    pages 0 and 1: magic 4, version 4, page size 4, flags 4, root bucket 16, free list 8,
//!            pages in use 8, transaction 8, FNV-1a of these 8. The later transaction counts.
//!   branch:  count times: position of the key 4, its length 4, page 8
//!   leaf:    count times: flags 4, position of the key 4, its length 4, the value's length 4
//!   bucket:  a leaf's value with flag 1: root page 8, sequence 8; root 0: a page of its own follows
//! ```
//!
//! Positions count from their element; all numbers are little-endian. The file comes from another machine,
//! so nothing in it is believed: lengths are checked before memory is given, and a page that is its own
//! descendant is an error.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

/// A database that is open for reading.
pub(super) struct Bolt {
    file: File,
    file_bytes: u64,
    page_bytes: u64,
    pages: u64,
    root: u64,
}

const PAGE_HEAD_BYTES: usize = 16;
const META_BYTES: usize = 64;
const ELEMENT_BYTES: usize = 16;
const BUCKET_HEAD_BYTES: usize = 16;
const MAGIC: u32 = 0xed0c_daed;
const VERSION: u32 = 2;

/// Page sizes of all systems there are.
const PAGE_BYTES: std::ops::RangeInclusive<u32> = 512..=65_536;

/// What one page may span with its overflow. It holds one value if it has any, and no request to etcd is
/// as large.
const SPAN_BYTES_MAX: u64 = 512 << 20;

/// Flags of pages.
const BRANCH: u16 = 1;
const LEAF: u16 = 2;
const META: u16 = 4;

/// Flag of a leaf's element.
const BUCKET: u32 = 1;

/// A tree of pages of two elements each is not deeper, and no page of bbolt's has so few.
const DEPTH_MAX: u32 = 40;

/// A bucket's name and its value: where it is.
type Bucket = (Vec<u8>, Vec<u8>);

/// Is given each key with its value, and their element's flags.
type Visit<'a> = &'a mut dyn FnMut(&[u8], &[u8], u32) -> Result<()>;

impl Bolt {
    /// Opens a file.
    ///
    /// # Errors
    /// If it is no database, or is torn.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let file = File::open(path)?;
        let file_bytes = file.metadata()?.len();
        let metas = find_metas(&file, file_bytes);
        let meta =
            metas.into_iter().max_by_key(|meta| meta.transaction).context("not a database of bbolt")?;
        let page_bytes = u64::from(meta.page_bytes);
        ensure!(meta.pages <= file_bytes / page_bytes, "the database is shorter than it says");
        Ok(Self { file, file_bytes, page_bytes, pages: meta.pages, root: meta.root })
    }

    /// Gives each key of a bucket with its value, in order; whether there is such a bucket.
    ///
    /// # Errors
    /// Those of `visit`, and a database that is not sound.
    pub(super) fn for_each(
        &self,
        bucket: &str,
        mut visit: impl FnMut(&[u8], &[u8]) -> Result<()>,
    ) -> Result<bool> {
        let Some((_, value)) = self.find_bucket(bucket)? else { return Ok(false) };
        let visit: Visit<'_> =
            &mut |key, value, flags| if flags & BUCKET == 0 { visit(key, value) } else { Ok(()) };
        let root = u64_at(&value, 0).context("a bucket that is too short")?;
        if root == 0 {
            let page = value.get(BUCKET_HEAD_BYTES..).context("a bucket without a page")?;
            visit_leaf(page, visit)?;
        } else {
            self.walk(root, DEPTH_MAX, &mut 0, visit)?;
        }
        Ok(true)
    }

    fn find_bucket(&self, name: &str) -> Result<Option<Bucket>> {
        let mut found = None;
        self.walk(self.root, DEPTH_MAX, &mut 0, &mut |key, value, flags| {
            if flags & BUCKET != 0 && key == name.as_bytes() {
                found = Some((key.to_vec(), value.to_vec()));
            }
            Ok(())
        })?;
        Ok(found)
    }

    /// `walked`: bytes so far. There are no more than the file has.
    fn walk(&self, id: u64, depth: u32, walked: &mut u64, visit: Visit<'_>) -> Result<()> {
        ensure!(depth > 0, "the pages go round in a circle");
        let page = self.page(id)?;
        *walked += page.len() as u64;
        ensure!(*walked <= self.file_bytes, "the pages go round in a circle");
        match u16_at(&page, 8) {
            Some(LEAF) => visit_leaf(&page, visit),
            Some(BRANCH) => {
                for index in 0..count(&page)? {
                    let child = u64_at(element(&page, index)?, 8).context("a branch that is too short")?;
                    self.walk(child, depth - 1, walked, visit)?;
                }
                Ok(())
            }
            flags => bail!("page {id} has the flags {flags:?}"),
        }
    }

    fn page(&self, id: u64) -> Result<Vec<u8>> {
        ensure!(id >= 2 && id < self.pages, "there is no page {id}");
        let mut head = [0; PAGE_HEAD_BYTES];
        let at = id * self.page_bytes;
        self.file.read_exact_at(&mut head, at)?;
        ensure!(u64_at(&head, 0) == Some(id), "page {id} says that it is another");
        let overflow = u64::from(u32_at(&head, 12).unwrap_or_default());
        let bytes = (1 + overflow) * self.page_bytes;
        ensure!(at + bytes <= self.file_bytes, "page {id} goes beyond the end");
        ensure!(bytes <= SPAN_BYTES_MAX, "page {id} has {bytes} bytes");
        let mut page = vec![0; usize::try_from(bytes)?];
        self.file.read_exact_at(&mut page, at)?;
        Ok(page)
    }
}

struct Meta {
    page_bytes: u32,
    root: u64,
    pages: u64,
    transaction: u64,
}

/// The second one is behind the first, by a length that is known if either is sound.
fn find_metas(file: &File, file_bytes: u64) -> Vec<Meta> {
    let first = read_meta(file, 0);
    let mut metas: Vec<Meta> = match &first {
        Some(first) => read_meta(file, first.page_bytes.into()).into_iter().collect(),
        None => (9..=16)
            .map(|shift| (1_u64 << shift, read_meta(file, 1 << shift)))
            .filter_map(|(at, meta)| meta.filter(|meta| u64::from(meta.page_bytes) == at))
            .collect(),
    };
    metas.extend(first);
    // One whose transaction was not written to its end points behind the file.
    metas.retain(|meta| meta.pages.saturating_mul(meta.page_bytes.into()) <= file_bytes);
    metas
}

fn read_meta(file: &File, at: u64) -> Option<Meta> {
    let mut page = [0; PAGE_HEAD_BYTES + META_BYTES];
    file.read_exact_at(&mut page, at).ok()?;
    let meta = &page[PAGE_HEAD_BYTES..];
    let sound = u16_at(&page, 8)? & META != 0
        && u32_at(meta, 0)? == MAGIC
        && u32_at(meta, 4)? == VERSION
        && fnv_1a(&meta[..META_BYTES - 8]) == u64_at(meta, META_BYTES - 8)?;
    let page_bytes = u32_at(meta, 8)?;
    if !sound || !PAGE_BYTES.contains(&page_bytes) || !page_bytes.is_power_of_two() {
        return None;
    }
    Some(Meta {
        page_bytes,
        root: u64_at(meta, 16)?,
        pages: u64_at(meta, 40)?,
        transaction: u64_at(meta, 48)?,
    })
}

fn visit_leaf(page: &[u8], visit: Visit<'_>) -> Result<()> {
    ensure!(u16_at(page, 8) == Some(LEAF), "a bucket's own page is no leaf");
    for index in 0..count(page)? {
        let element = element(page, index)?;
        let field =
            |at| u32_at(element, at).map(|number| number as usize).context("a leaf that is too short");
        let (position, key_bytes, value_bytes) = (field(4)?, field(8)?, field(12)?);
        let key_end = position.saturating_add(key_bytes);
        let key = element.get(position..key_end).context("a key beyond its page")?;
        let value_end = key_end.saturating_add(value_bytes);
        let value = element.get(key_end..value_end).context("a value beyond its page")?;
        visit(key, value, u32_at(element, 0).unwrap_or_default())?;
    }
    Ok(())
}

fn count(page: &[u8]) -> Result<usize> {
    u16_at(page, 10).map(usize::from).context("a page that is too short")
}

/// From an element to the end of its page.
fn element(page: &[u8], index: usize) -> Result<&[u8]> {
    page.get(PAGE_HEAD_BYTES + index * ELEMENT_BYTES..).context("more elements than the page has room for")
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().copied().map(u16::from_le_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().copied().map(u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().copied().map(u64::from_le_bytes)
}

fn fnv_1a(bytes: &[u8]) -> u64 {
    let add = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, add)
}
