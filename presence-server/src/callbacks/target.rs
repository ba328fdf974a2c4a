//! Where callbacks go.

use std::{fmt, net::IpAddr, str::FromStr};

use reqwest::Url;

/// The longest URL, in bytes.
const LONGEST: usize = 2048;

/// The URL of a callback: `http` or `https`, with a host. It is shown up to its host, because what follows may be
/// what lets somebody in.
///
/// ```
/// use presence_server::callbacks::CallbackUrl;
///
/// let url: CallbackUrl = "https://hooks.example/services/T0/B0/secret".parse()?;
/// assert_eq!(url.to_string(), "https://hooks.example/***");
/// assert!("hooks.example".parse::<CallbackUrl>().is_err());
/// # Ok::<(), presence_server::callbacks::BadUrl>(())
/// ```
#[derive(Clone, Eq, PartialEq)]
pub struct CallbackUrl(Url);

/// Why a text is no URL of a callback; the text is not in it.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
#[error(
    "must be a URL of at most 2048 bytes that begins with https:// or http:// and a host, without a user, a \
     password, a # or white space"
)]
pub struct BadUrl;

/// What a URL says about the machine it leads to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Host<'a> {
    Name(&'a str),
    Address(IpAddr),
}

impl CallbackUrl {
    pub(super) const fn as_url(&self) -> &Url {
        &self.0
    }

    /// Whether it asks for TLS.
    pub(super) fn is_https(&self) -> bool {
        self.0.scheme() == "https"
    }

    /// The port it leads to; never 0.
    pub(super) fn port(&self) -> u16 {
        self.0.port_or_known_default().unwrap_or_default()
    }

    /// The host, as whoever dials reads it: `0x7f.1` and `[::ffff:7f00:1]` are addresses.
    pub(super) fn host(&self) -> Host<'_> {
        let text = self.0.host_str().unwrap_or_default();
        let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
        bare.parse().map_or(Host::Name(text), Host::Address)
    }
}

impl FromStr for CallbackUrl {
    type Err = BadUrl;

    fn from_str(text: &str) -> Result<Self, BadUrl> {
        // The parser drops line ends and tabs, and so would take what nobody meant.
        if text.len() > LONGEST || text.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err(BadUrl);
        }
        let url = Url::parse(text).map_err(|_| BadUrl)?;
        let is_http =
            matches!(url.scheme(), "http" | "https") && url.host_str().is_some_and(|host| !host.is_empty());
        let is_bare = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
        if is_http && is_bare && url.port() != Some(0) { Ok(Self(url)) } else { Err(BadUrl) }
    }
}

/// Up to the host.
impl fmt::Display for CallbackUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.origin().ascii_serialization())?;
        if self.0.path() == "/" && self.0.query().is_none() { f.write_str("/") } else { f.write_str("/***") }
    }
}

/// As it is shown.
impl fmt::Debug for CallbackUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CallbackUrl({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> CallbackUrl {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn a_url_is_shown_up_to_its_host() {
        for (text, shown) in [
            ("https://hooks.example", "https://hooks.example/"),
            ("https://hooks.example:8443/", "https://hooks.example:8443/"),
            ("HTTPS://Hooks.Example:443/canary", "https://hooks.example/***"),
            ("http://127.0.0.1:8080/api/canary", "http://127.0.0.1:8080/***"),
            ("https://hooks.example/?token=canary", "https://hooks.example/***"),
            ("https://[2001:db8::1]/canary/", "https://[2001:db8::1]/***"),
        ] {
            assert_eq!(url(text).to_string(), shown);
            assert!(!format!("{:?} {:#?}", url(text), url(text)).contains("canary"));
        }
    }

    #[test]
    fn a_host_is_read_as_whoever_dials_reads_it() {
        for (text, address) in [
            ("http://127.0.0.1/", "127.0.0.1"),
            ("http://2130706433/", "127.0.0.1"),
            ("http://0x7f.1/", "127.0.0.1"),
            ("http://0177.0.0.1/", "127.0.0.1"),
            ("http://127.1/", "127.0.0.1"),
            ("http://127.0.0.1./", "127.0.0.1"),
            ("http://\u{ff11}27.0.0.1/", "127.0.0.1"),
            ("http://%31%32%37.0.0.1/", "127.0.0.1"),
            ("http://0/", "0.0.0.0"),
            ("http://[::1]/", "::1"),
            ("http://[::ffff:127.0.0.1]/", "::ffff:127.0.0.1"),
            ("http://[0:0:0:0:0:ffff:7f00:1]/", "::ffff:127.0.0.1"),
        ] {
            assert_eq!(url(text).host(), Host::Address(address.parse().unwrap()), "{text}");
        }
        for (text, name) in [("https://a.example/", "a.example"), ("https://LOCALHOST./", "localhost.")] {
            assert_eq!(url(text).host(), Host::Name(name), "{text}");
        }
    }

    #[test]
    fn a_port_is_the_schemes_own_unless_it_is_said() {
        for (text, port) in
            [("http://a/", 80), ("https://a/", 443), ("https://a:443/", 443), ("http://a:81/", 81)]
        {
            assert_eq!(url(text).port(), port, "{text}");
        }
    }

    #[test]
    fn what_is_no_url_of_a_callback_is_refused() {
        let long = format!("https://a.example/{}", "x".repeat(LONGEST));
        for text in [
            "",
            "hooks.example",
            "hooks.example:443",
            "//hooks.example/",
            "/hook",
            "https://",
            "https:///",
            "https://:443/",
            "https://a.example:0/",
            "https://a.example:65536/",
            "ftp://a.example/",
            "file:///etc/passwd",
            "gopher://a.example/",
            "unix:/run/x",
            "https://me@a.example/",
            "https://me:you@a.example/",
            "https://:you@a.example/",
            "https://a.example/#part",
            " https://a.example/",
            "https://a.example/ ",
            "https://a.exa\tmple/",
            "https://a.example/\r\n",
            "https://a b.example/",
            "https://[::1/",
            "https://[fe80::1%25eth0]/",
            "https://256.256.256.256/",
            &long,
        ] {
            assert_eq!(text.parse::<CallbackUrl>(), Err(BadUrl), "{text:?}");
        }
    }
}
