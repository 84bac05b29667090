//! Reads databases of bbolt.
