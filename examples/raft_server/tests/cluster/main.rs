//! Members in processes of their own: raft servers of ours alone, and among real etcd members.
//!
//! | what | tests |
//! |---|---|
//! | three of ours under load | `twenty_thousand_writes_of_sixteen_clients_survive_five_kills_of_the_leader` |
//! | among etcd members | `two_etcd_members_and_one_of_ours_are_one_cluster`, `one_etcd_member_and_two_of_ours_are_one_cluster` |
//! | away for long | `a_member_away_for_longer_than_the_log_comes_back_by_the_snapshot_of_an_etcd`, `an_etcd_away_for_longer_than_the_snapshot_count_follows_a_leader_of_ours`, `a_member_away_for_longer_than_the_log_comes_back_by_a_snapshot_of_ours` |
//! | added and removed | `a_member_of_ours_joins_at_run_time_and_learns_that_it_was_removed` |
//! | for etcd members | `a_leader_of_ours_keeps_the_leases_of_etcds_clients`, `a_leader_of_ours_promotes_learners_of_either_kind` |
//! | parted | `a_member_whose_packets_vanish_accepts_nothing_and_is_back_within_two_election_timeouts`, `a_member_whose_messages_are_cut_accepts_nothing_and_is_back_within_two_election_timeouts` |
//! | all at once | `all_members_killed_at_once_lose_nothing_that_was_acknowledged`, `members_that_are_ended_in_order_come_back_as_they_were` |
#![allow(missing_docs, unreachable_pub, reason = "modules of a test")]

mod address;
mod alone;
mod cluster;
mod door;
mod duties;
mod etcdctl;
mod history;
mod joining;
mod keys;
mod load;
mod member;
mod mixed;
mod network;
mod partition;
mod process;
mod restarts;
mod status;
mod torn;
mod wait;
