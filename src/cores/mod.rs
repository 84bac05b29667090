//! THE CROSSING. Lanes, mailboxes, doorbells, pinning. Knows no raft, no HTTP and no runtime.
