//! The URL picker: which of a member's URLs to dial (protocol section 8.5, `urlpick.go`).

use super::peer_url::{PeerUrl, PeerUrls};

/// The URLs of one member and the one that is used now. Shared by all that dial this member.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Picker {
    urls: PeerUrls,
    /// Less than the number of URLs, of which there is at least one.
    index: usize,
}

impl Picker {
    /// Starts with the first URL.
    #[must_use]
    pub const fn new(urls: PeerUrls) -> Self {
        Self { urls, index: 0 }
    }

    /// Replaces the list and starts with its first URL. Connections stay.
    pub fn update(&mut self, urls: PeerUrls) {
        *self = Self::new(urls);
    }

    /// `url` did not work: go on to the next.
    ///
    /// Only if it is still the current one, so that several who fail on the same URL rotate once.
    pub fn unreachable(&mut self, url: &PeerUrl) {
        if url == self.pick() {
            self.index = (self.index + 1) % self.urls.as_slice().len();
        }
    }

    /// The current URL.
    #[must_use]
    pub const fn pick(&self) -> &PeerUrl {
        &self.urls.as_slice()[self.index]
    }

    /// All URLs, in order.
    #[must_use]
    pub const fn urls(&self) -> &PeerUrls {
        &self.urls
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picker(urls: &[&str]) -> Picker {
        Picker::new(PeerUrls::parse(urls).expect("valid"))
    }

    /// `TestURLPickerPickTwice`.
    #[test]
    fn picking_twice_gives_the_same_url() {
        let picker = picker(&["http://127.0.0.1:7001", "http://127.0.0.1:2380"]);
        assert_eq!(picker.pick().as_str(), "http://127.0.0.1:2380", "the first of the sorted list");
        assert_eq!(picker.pick(), picker.pick());
    }

    /// `TestURLPickerUpdate`.
    #[test]
    fn an_update_starts_the_new_list() {
        let mut picker = picker(&["http://127.0.0.1:2380", "http://127.0.0.1:7001"]);
        picker.unreachable(&picker.pick().clone());
        picker.update(PeerUrls::parse(["http://localhost:2380", "http://localhost:7001"]).expect("valid"));
        assert_eq!(picker.pick().as_str(), "http://localhost:2380");
    }

    /// `TestURLPickerUnreachable`.
    #[test]
    fn failures_on_one_url_rotate_once() {
        let mut picker = picker(&["http://a:1", "http://b:1"]);
        let first = picker.pick().clone();
        picker.unreachable(&first);
        picker.unreachable(&first);
        let second = picker.pick().clone();
        assert_ne!(second, first);
        picker.unreachable(&second);
        assert_eq!(*picker.pick(), first, "around the end");
    }

    #[test]
    fn a_single_url_stays() {
        let mut picker = picker(&["http://a:1"]);
        picker.unreachable(&picker.pick().clone());
        assert_eq!(picker.pick().as_str(), "http://a:1");
    }
}
