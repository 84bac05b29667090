//! What members ask each other beside raft (protocol section 16).
