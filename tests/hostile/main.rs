//! Hostile and broken members against real transports: the process lives, the refusal is clear,
//! other peers notice nothing, memory comes back.
//!
//! # Sharp edges (protocol section 17)
//!
//! | # | input on which etcd crashes or has no bound | shown by |
//! |---|---|---|
//! | 1, 2 | counts and lengths in msgappv2 | `counts_that_cannot_be_are_refused_before_memory_is_taken` |
//! | 3 | an entry, a message that is no protobuf | `an_entry_that_is_no_protobuf_is_refused`, `what_is_no_message_is_refused` |
//! | 4 | a legal length on the `message` stream | `a_legal_length_that_never_fills_costs_what_arrived`, `a_frame_of_any_declared_length_costs_no_memory` |
//! | 5 | length of a snapshot's message | `a_message_that_is_none_is_refused_in_etcds_words` |
//! | 6 | body of `POST /raft` | `a_chunked_body_without_end_is_cut_at_the_limit`, `a_length_over_the_limit_is_refused_before_a_byte_is_read` |
//! | 7 | an answer with a bad version | `a_version_that_is_none_is_refused_with_any_status` |
//! | 8 | a request with a bad version | `a_request_with_a_version_that_is_none_is_answered` |
//! | 9 | a field whose length overflows | `a_field_that_is_longer_than_its_message_is_refused` |
//! | 10 | deep nesting | `groups_within_groups_cost_no_stack`, `messages_within_messages_cost_no_stack` |
//! | 11 | MsgSnap without a snapshot | `a_snapshot_without_metadata_is_a_snapshot_at_0` |
//! | 12, 13 | `X-PeerURLs` that are none, or many | `wrong_urls_introduce_nobody_and_cost_nothing`, `a_crowd_of_strangers_is_not_remembered`, `strangers_are_never_more_and_drive_out_only_whom_nobody_talks_to` |
//! | 14 | spaces around a peer URL | `whitespace_around_a_url_is_no_part_of_it` |
//! | 15 | a refusal without end | `a_refusal_without_end_is_not_read_to_its_end`, `an_answer_without_end_is_read_up_to_its_bound` |
//! | 16 | a post that is never answered | `a_peer_that_never_answers_costs_its_time_and_gets_the_next_message_after_that` |
//! | 17 | a probe that is never answered | `a_target_that_never_answers_does_not_stop_its_prober` |
//! | 18 | foreign `from` values as labels | `foreign_ids_and_addresses_take_a_bounded_number_of_label_values` |
//! | 19 | what waits when a stream is replaced | `messages_for_a_member_that_left_are_reported_once`, `a_detach_tells_what_was_encoded_and_is_not_known_to_be_written` |
//! | 20 | another message than an append in msgappv2 | `only_an_append_that_loses_nothing_goes_without_its_head` |
//! | 21 | entries with a gap | `entries_with_a_gap_are_dropped_and_the_stream_stays` |
//! | 22 | AppEntries first | `app_entries_before_any_message_have_term_and_index_zero` |
//! | 23 | a message that lacks what raft indexes into | `a_message_that_lacks_what_raft_indexes_into_is_dropped_and_the_stream_stays` |
//!
//! # Limits
//!
//! | limit | shown by |
//! |---|---|
//! | connections without a handshake | `of_many_idle_connections_from_one_address_the_oldest_goes`, `a_member_gets_through_while_strangers_fill_the_room` |
//! | handshakes that fail | `an_address_that_fails_too_often_is_not_even_read_and_others_are`, `refused_members_behind_one_address_do_not_use_up_its_tokens`, `the_tables_are_bounded_whatever_comes` |
//! | a head: bytes, headers, time | `a_bomb_of_a_head_is_refused_before_it_is_held`, `a_head_that_drips_is_closed_after_five_seconds`, `an_idle_connection_is_closed_after_ten_seconds` |
//! | how often a head is parsed | `a_head_split_anywhere_is_the_head_in_one_piece`, `the_end_is_found_wherever_the_head_is_split` |
//! | strictness | `what_smuggles_is_refused_and_what_hides_behind_it_is_never_read`, `whatever_smuggles_is_refused`, `smuggled_answers_are_refused` |
//! | a chunk's line, and too much of them | `broken_chunks_are_refused`, `chunks_that_are_mostly_framing_are_refused`, `chunks_of_one_byte_carry_whole_messages` |
//! | a frame, its entries | `declared_lengths_over_the_limits_are_refused_before_their_bytes_arrive`, `entries_of_one_frame_are_limited_in_sum` |
//! | partial frames | `many_are_bounded_together_and_one_large_frame_always_finishes` |
//! | what waits in lanes | `a_client_that_does_not_read_is_given_up_and_costs_no_more_than_its_lane`, `all_lanes_of_all_transports_are_bounded_together` |
//! | snapshots at once, their size and time | `a_receiver_takes_two_at_once_and_answers_503_to_the_third`, `a_database_beyond_the_limit_is_refused`, `a_sender_that_stalls_or_drips_is_given_up` |
//! | bodies at once, and their time | `of_too_many_bodies_at_once_the_next_is_refused_and_the_others_go_on`, `of_the_bodies_of_one_member_eight_are_read_at_once_and_others_have_theirs`, `a_body_that_drips_is_given_up_after_half_a_minute`, `a_large_body_passes_a_thin_link` |
//! | posts under way and their connections | `four_in_flight_and_sixty_four_that_wait_are_accepted_exactly`, `bytes_that_wait_are_bounded_too`, `of_connections_that_are_kept_between_posts_the_one_unused_for_longest_goes` |
//! | remotes | `one_is_learned_a_second`, `what_the_host_added_stays_and_what_was_learned_is_forgotten_in_time` |
//! | replacements of a stream | `of_streams_that_replace_each_other_in_haste_only_the_newest_stays`, `a_member_that_flaps_waits_and_what_waits_does_not_pile_up` |
//! | the body of a refusal | `a_refusal_without_end_is_not_read_to_its_end`, `a_reason_that_never_comes_is_not_waited_for` |
//! | deadlines | `a_stream_that_says_nothing_is_silent_after_its_timeout`, `a_write_that_moves_nothing_for_too_long_has_stalled`, `a_connection_that_is_never_made_is_given_up_in_time`, `an_answer_that_drips_is_given_up_in_time` |
//! | injected faults | `what_waits_is_bounded_in_messages_and_in_bytes_and_the_excess_is_told` |
//!
//! # Threats
//!
//! | threat | shown by |
//! |---|---|
//! | bytes before the handshake | `what_is_not_http_is_closed_without_a_word`, `http_2_is_refused`, `random_bytes_never_hurt` |
//! | heads without end, slow heads, idle connections | the limits above |
//! | smuggling, keep-alive | `behind_a_refusal_nothing_is_read`, `bytes_behind_a_stream_request_end_it`, `a_client_that_talks_on_a_stream_is_closed` |
//! | corrupt but well framed | `damaged_messages_mean_what_prost_says`, `damaged_streams_never_panic`; a checksum is not there yet |
//! | wrong `to` | `messages_for_or_from_another_are_dropped_and_the_stream_stays`, `a_refused_dial_is_answered_as_etcd_answers_it` |
//! | another cluster | `a_member_of_another_cluster_cannot_say_that_we_were_removed`, `another_cluster_is_refused_both_ways_and_etcd_survives` |
//! | a handshake said again | `of_streams_that_replace_each_other_in_haste_only_the_newest_stays`: the newest wins, at a bounded rate |
//! | slow reader | `a_client_that_reads_a_little_now_and_then_costs_no_more_than_its_lane`, `heartbeats_do_not_gather_behind_a_write_that_creeps` |
//! | slow writer | `a_frame_that_drips_is_given_up_after_the_window`, `a_large_frame_passes_a_thin_link` |
//! | half-open | `a_frozen_etcd_is_given_up_and_found_again`, `a_stream_that_says_nothing_is_silent_after_its_timeout` |
//! | no descriptors | `out_of_descriptors_it_neither_spins_nor_stays_deaf`, `without_a_descriptor_everything_says_so_and_heals` |
//! | a stream that never pauses | `a_stream_that_is_never_empty_does_not_hold_up_its_core` |
//! | hosts that panic or send without pause | `a_panic_in_process_costs_the_stream_which_comes_back`, `a_host_that_sends_without_pause_does_not_hold_up_the_core` |
//! | TLS | not there yet |
//! | volume of logs | none: events go to the host's observer, which is the one that writes |
#![cfg(feature = "io")]

mod client;
#[path = "../common/mod.rs"]
mod common;
mod descriptors;
mod dialled;
mod fairness;
mod handshake;
mod host;
mod post;
mod server;
mod sharp_edges;
mod strangers;
mod streams;
