//! What members ask each other beside raft, on the peer URL (protocol section 16), and what only a leader
//! does: end leases, and raise the cluster's version.
//!
//! ```text
//!   any thread     read(request) -> Question, or the answer to what is none
//!   the raft loop  answer(question, now, view) -> Answer
//!                  Question::Promote: check_promotion, then propose request::promote_member;
//!                  when its entry is applied: promoted(view, reply) -> Answer
//! ```
//!
//! An etcd member asks for leases only whom it takes for the leader, and takes a 404 for "there is no such
//! lease": whoever does not lead, or has not applied all it knows to be committed, must not answer that.

mod answers;
pub(crate) mod leases;
mod question;
#[cfg(test)]
mod tests;
pub(crate) mod versions;

pub(crate) use answers::{View, answer, check_promotion, promoted};
pub(crate) use question::{Question, read};
