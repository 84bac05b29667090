//! THE MEMORY. Blocks, one pool a core, chains. Knows no runtime, no HTTP and no raft.
//!
//! ```text
//!   pool --take--> Block --filled by an encoder--> Chain --written--> dropped --> pool
//!   pool --take--> Block --filled by the kernel--> decoded in place, or sealed into Bytes
//!                                                  that slices refer to --last one dropped--> pool
//! ```

mod block;
mod budget;
mod chain;
mod pool;

pub use block::Block;
pub use budget::{NoRoom, Share};
pub use chain::{Chain, Mark};
pub use pool::{BLOCK_BYTES, Pool, PoolStats};
