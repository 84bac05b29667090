//! See the top of `sim.rs`. One noun a file:
//!
//! ```text
//!   plan    what a seed decides             load    what the hosts send
//!   world   the clock, the order of events  stamp   how a message proves itself
//!   node    members made of machines        send    from the hosts into the lanes
//!   dial    the dialling side               serve   the serving side up to the attach
//!   read    stream readers                  write   stream writers
//!   wire    one direction of a connection   fault   when it lies
//!   conn    a connection and what it said   ledger  what became of each message
//!   oracle  what must hold as bytes arrive  verdict what must hold at the end
//! ```

mod conn;
mod dial;
mod fault;
mod ledger;
mod load;
mod node;
mod oracle;
mod plan;
mod read;
mod run;
mod send;
mod serve;
mod stamp;
mod tally;
mod verdict;
mod wire;
mod world;
mod write;

pub(super) use run::{run_many, run_seed};
pub(super) use tally::Tally;
