//! Peer URLs: where a member listens (protocol section 2.2).
//!
//! Their text is part of a member's identity (section 2.3), so it is kept as it was given: only
//! surrounding whitespace goes and the scheme becomes lower case, as in Go's `types.NewURLs`.

use std::fmt;
use std::net::Ipv6Addr;

/// Bytes of one URL: the longest DNS name (253) with the longest scheme and port, rounded up.
pub const PEER_URL_BYTES_MAX: usize = 272;

/// URLs of one member. Real members have one or two; sixteen of the longest still leave room for
/// the other headers in a head of [`HEAD_BYTES_MAX`](crate::proto::http::head::HEAD_BYTES_MAX).
pub const PEER_URLS_MAX: usize = 16;

const _: () =
    assert!(PEER_URLS_MAX * (PEER_URL_BYTES_MAX + 1) + 1024 <= crate::proto::http::head::HEAD_BYTES_MAX);

/// The four schemes that etcd knows.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Scheme {
    /// Plain HTTP over TCP.
    Http,
    /// HTTP over TLS.
    Https,
    /// Plain HTTP over a unix socket.
    Unix,
    /// HTTP over TLS over a unix socket.
    Unixs,
}

/// One valid peer URL.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct PeerUrl {
    text: Box<str>,
    scheme: Scheme,
    host: Box<str>,
    /// 0 for the unix schemes, which have none.
    port: u16,
}

/// The URLs of one member: at least one, sorted by their text, at most [`PEER_URLS_MAX`].
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct PeerUrls(Box<[PeerUrl]>);

/// Why a text is not a peer URL, or a list not a member's. Made by whoever configured it.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum PeerUrlError {
    /// No URL at all.
    Empty,
    /// More than [`PEER_URLS_MAX`] URLs.
    TooMany,
    /// Longer than [`PEER_URL_BYTES_MAX`].
    TooLong,
    /// Not `http`, `https`, `unix` or `unixs`.
    Scheme(String),
    /// Not `host:port`.
    HostPort(String),
    /// Something follows the port: a path, be it `/` alone, a query or a fragment.
    Path(String),
}

/// A valid URL that this build cannot dial.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum NotDialable {
    /// The scheme asks for TLS.
    Tls,
}

impl PeerUrl {
    /// Parses one URL; surrounding whitespace is ignored.
    ///
    /// Stricter than Go's where an accepted URL could not be dialled anyway: the host must not be
    /// empty, the port must be a number from 1 to 65535, and user, query and fragment are errors.
    ///
    /// # Errors
    /// Which rule of protocol section 2.2 it breaks.
    pub fn parse(text: &str) -> Result<Self, PeerUrlError> {
        let text = text.trim();
        if text.len() > PEER_URL_BYTES_MAX {
            return Err(PeerUrlError::TooLong);
        }
        let scheme_error = || PeerUrlError::Scheme(shown(text));
        let (scheme_text, rest) = text.split_once("://").ok_or_else(scheme_error)?;
        let scheme = Scheme::parse(scheme_text).ok_or_else(scheme_error)?;
        let (host, port) = match scheme {
            Scheme::Http | Scheme::Https => parse_authority(text, rest)?,
            Scheme::Unix | Scheme::Unixs => (parse_socket(text, rest)?.to_owned(), 0),
        };
        let canonical = format!("{scheme}://{rest}").into();
        Ok(Self { text: canonical, scheme, host: host.into(), port })
    }

    /// The whole URL, as it is hashed and sent.
    #[must_use]
    pub const fn as_str(&self) -> &str {
        &self.text
    }

    /// The scheme.
    #[must_use]
    pub const fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The name or address to resolve, without brackets; for the unix schemes the socket's name.
    #[must_use]
    pub const fn host(&self) -> &str {
        &self.host
    }

    /// The TCP port; `None` for the unix schemes.
    #[must_use]
    pub const fn port(&self) -> Option<u16> {
        if self.port == 0 { None } else { Some(self.port) }
    }

    /// The value of the `Host` header: `host:port` as it stands in the URL. A unix socket's name that is a
    /// path could stand in no such header: then, as most clients do, `localhost`.
    #[must_use]
    pub fn authority(&self) -> &str {
        let authority = self.text.split_once("://").map_or("", |(_, rest)| rest);
        if self.port == 0 && authority.contains('/') { "localhost" } else { authority }
    }

    /// Whether this build can connect to it.
    ///
    /// # Errors
    /// What it would need and is not built in.
    pub const fn dialable(&self) -> Result<(), NotDialable> {
        match self.scheme {
            Scheme::Http | Scheme::Unix => Ok(()),
            Scheme::Https | Scheme::Unixs => Err(NotDialable::Tls),
        }
    }
}

impl PeerUrls {
    /// Parses a member's URLs, in any order (`types.NewURLs`).
    ///
    /// # Errors
    /// An empty or over-long list, or the first URL that is wrong.
    pub fn parse<S: AsRef<str>>(texts: impl IntoIterator<Item = S>) -> Result<Self, PeerUrlError> {
        let mut urls = Vec::new();
        for text in texts {
            if urls.len() == PEER_URLS_MAX {
                return Err(PeerUrlError::TooMany);
            }
            urls.push(PeerUrl::parse(text.as_ref())?);
        }
        if urls.is_empty() {
            return Err(PeerUrlError::Empty);
        }
        urls.sort_by(|a, b| a.text.cmp(&b.text));
        Ok(Self(urls.into()))
    }

    /// Parses the value of an `X-PeerURLs` header: URLs with `,` between them.
    ///
    /// # Errors
    /// As [`PeerUrls::parse`].
    pub fn parse_header(value: &str) -> Result<Self, PeerUrlError> {
        if value.is_empty() {
            return Err(PeerUrlError::Empty);
        }
        Self::parse(value.split(','))
    }

    /// The URLs in order.
    #[must_use]
    pub const fn as_slice(&self) -> &[PeerUrl] {
        &self.0
    }

    /// The texts in order, for [`MemberId::compute`](crate::id::MemberId::compute).
    #[must_use]
    pub fn texts(&self) -> Vec<&str> {
        self.0.iter().map(PeerUrl::as_str).collect()
    }
}

/// As in `X-PeerURLs`: joined by `,`.
impl fmt::Display for PeerUrls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.texts().join(","))
    }
}

impl fmt::Display for PeerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Scheme {
    fn parse(text: &str) -> Option<Self> {
        let all = [Self::Http, Self::Https, Self::Unix, Self::Unixs];
        all.into_iter().find(|scheme| text.eq_ignore_ascii_case(scheme.as_str()))
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::Unix => "unix",
            Self::Unixs => "unixs",
        }
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// `host:port`, `address:port` or `[v6]:port`, and nothing after it.
fn parse_authority(url: &str, rest: &str) -> Result<(String, u16), PeerUrlError> {
    if rest.contains(['/', '?', '#']) {
        return Err(PeerUrlError::Path(shown(url)));
    }
    parse_host_port(rest).ok_or_else(|| PeerUrlError::HostPort(shown(url)))
}

fn parse_host_port(text: &str) -> Option<(String, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    // `u16::from_str` takes a leading `+`.
    if !port.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let port = port.parse().ok().filter(|&port| port != 0)?;
    match host.strip_prefix('[') {
        Some(bracketed) => Some((parse_v6(bracketed.strip_suffix(']')?)?, port)),
        None => is_name(host).then(|| (host.to_owned(), port)),
    }
}

/// An IPv6 address, with the zone written as `%25eth0` in a URL and as `%eth0` for the resolver.
fn parse_v6(text: &str) -> Option<String> {
    let (address, zone) = match text.split_once("%25") {
        Some((address, zone)) => (address, Some(zone)),
        None => (text, None),
    };
    address.parse::<Ipv6Addr>().ok()?;
    match zone {
        Some(zone) if is_name(zone) => Some(format!("{address}%{zone}")),
        Some(_) => None,
        None => Some(address.to_owned()),
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
}

/// The name of a unix socket may be a path; it goes into headers, so it must be visible ASCII.
fn parse_socket<'a>(url: &str, rest: &'a str) -> Result<&'a str, PeerUrlError> {
    let visible = rest.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b',' | b'?' | b'#' | b'%'));
    if rest.is_empty() || !visible {
        return Err(PeerUrlError::HostPort(shown(url)));
    }
    Ok(rest)
}

/// The text for an error message: whatever it holds, the message is one line.
fn shown(text: &str) -> String {
    text.escape_debug().collect()
}

impl fmt::Display for PeerUrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("a member needs at least one peer URL, like http://10.0.0.1:2380"),
            Self::TooMany => write!(f, "a member has at most {PEER_URLS_MAX} peer URLs: leave some out"),
            Self::TooLong => write!(f, "a peer URL has at most {PEER_URL_BYTES_MAX} bytes: shorten the host"),
            Self::Scheme(url) => {
                write!(f, "the peer URL \"{url}\" must begin with http://, https://, unix:// or unixs://")
            }
            Self::HostPort(url) => {
                write!(f, "the peer URL \"{url}\" must name host and port, like http://10.0.0.1:2380")
            }
            Self::Path(url) => {
                write!(f, "the peer URL \"{url}\" must end after the port: remove the path, even a single /")
            }
        }
    }
}

impl std::error::Error for PeerUrlError {}

impl fmt::Display for NotDialable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tls => "TLS is not built in yet: give the member an http:// or unix:// peer URL",
        })
    }
}

impl std::error::Error for NotDialable {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whitespace_around_a_url_is_no_part_of_it() {
        let url = PeerUrl::parse("  HTTP://10.0.0.1:2380\t").expect("valid");
        assert_eq!(url.as_str(), "http://10.0.0.1:2380");
        assert_eq!((url.scheme(), url.host(), url.port()), (Scheme::Http, "10.0.0.1", Some(2380)));
        assert_eq!(url.authority(), "10.0.0.1:2380");
    }

    #[test]
    fn an_ipv6_host_stands_in_brackets() {
        let url = PeerUrl::parse("https://[::1]:2380").expect("valid");
        assert_eq!((url.host(), url.authority()), ("::1", "[::1]:2380"));
        let url = PeerUrl::parse("http://[fe80::1%25eth0]:1").expect("valid");
        assert_eq!((url.host(), url.authority()), ("fe80::1%eth0", "[fe80::1%25eth0]:1"));
        for bad in
            ["http://::1:2380", "http://[::1]", "http://[::1:2380", "http://[x]:1", "http://[::1%eth0]:1"]
        {
            assert!(matches!(PeerUrl::parse(bad), Err(PeerUrlError::HostPort(_))), "{bad}");
        }
    }

    #[test]
    fn all_of_a_unix_url_is_the_name_of_a_file() {
        let url = PeerUrl::parse("unix://localhost:2380").expect("valid");
        assert_eq!((url.host(), url.port(), url.authority()), ("localhost:2380", None, "localhost:2380"));
        let url = PeerUrl::parse("unix:///run/m1.sock").expect("valid");
        assert_eq!((url.host(), url.authority()), ("/run/m1.sock", "localhost"));
    }

    #[test]
    fn what_breaks_a_rule_is_refused_by_its_name() {
        let scheme = ["://h:1", "mailto://h:1", "h:2380", "", "http:/h:1"];
        assert!(scheme.iter().all(|t| matches!(PeerUrl::parse(t), Err(PeerUrlError::Scheme(_)))));
        let path = ["http://h:1/", "http://h:1/path", "http://h:1?q", "http://h:1#f"];
        assert!(path.iter().all(|t| matches!(PeerUrl::parse(t), Err(PeerUrlError::Path(_)))));
        for text in [
            "http://h",
            "http://h:",
            "http://:1",
            "http://h:+1",
            "http://h:0",
            "http://h:65536",
            "http://u@h:1",
            "http://h\r\nX: y:1",
            "http://h h:1",
            "http://a,b:1",
            "unix://",
            "unix://a\u{e9}",
        ] {
            assert!(matches!(PeerUrl::parse(text), Err(PeerUrlError::HostPort(_))), "{text:?}");
        }
        assert_eq!(PeerUrl::parse(&format!("http://{}:1", "h".repeat(300))), Err(PeerUrlError::TooLong));
    }

    #[test]
    fn a_list_is_sorted_and_neither_empty_nor_endless() {
        let urls = PeerUrls::parse([" http://b:1", "http://a:2", "http://a:10"]).expect("valid");
        assert_eq!(urls.to_string(), "http://a:10,http://a:2,http://b:1");
        assert_eq!(PeerUrls::parse_header(&urls.to_string()), Ok(urls));
        assert_eq!(PeerUrls::parse([""; 0]), Err(PeerUrlError::Empty));
        assert_eq!(PeerUrls::parse_header(""), Err(PeerUrlError::Empty));
        assert_eq!(PeerUrls::parse(["http://a:1"; PEER_URLS_MAX + 1]), Err(PeerUrlError::TooMany));
    }

    #[test]
    fn only_what_is_plain_is_dialled_and_the_error_says_why() {
        let dialable = |text| PeerUrl::parse(text).expect("valid").dialable();
        assert_eq!(dialable("http://h:1"), Ok(()));
        assert_eq!(dialable("https://h:1"), Err(NotDialable::Tls));
        assert_eq!(dialable("unixs://m1"), Err(NotDialable::Tls));
        assert_eq!(dialable("unix://localhost:m10"), Ok(()));
        assert!(NotDialable::Tls.to_string().starts_with("TLS is not built in yet"));
    }

    #[test]
    fn an_error_names_the_url_in_one_line() {
        let error = PeerUrl::parse("http://h\n:1").expect_err("a line feed").to_string();
        assert_eq!(
            error,
            r#"the peer URL "http://h\n:1" must name host and port, like http://10.0.0.1:2380"#
        );
    }
}
