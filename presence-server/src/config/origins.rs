//! Pages of other servers.

use std::{fmt, str::FromStr};

use axum::http::{HeaderValue, Uri};

/// The most origins of a list.
const MOST: usize = 100;

/// Origins of pages, as browsers send them: a scheme, a host, and a port where it is not the scheme's own.
///
/// ```
/// use presence_server::config::Origins;
///
/// let origins: Origins = "https://app.example,http://localhost:5173".parse()?;
/// assert_eq!(origins.to_string(), "https://app.example,http://localhost:5173");
/// assert!("*".parse::<Origins>().is_err());
/// # Ok::<(), String>(())
/// ```
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Origins(Vec<HeaderValue>);

impl Origins {
    /// Whether there are none: then browsers let no page of another server ask this one.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a page of this origin is among them.
    pub(crate) fn allow(&self, origin: &HeaderValue) -> bool {
        self.0.contains(origin)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &HeaderValue> {
        self.0.iter()
    }
}

impl FromStr for Origins {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refused = || {
            format!(
                "must be at most {MOST} origins with commas between them, each as a browser sends it: \
                 https://app.example or http://localhost:5173, in lower case, without a path; \
                 * and null are refused"
            )
        };
        let origins: Option<Vec<_>> = text.split(',').map(origin).collect();
        origins.filter(|origins| origins.len() <= MOST).map(Self).ok_or_else(refused)
    }
}

/// As it is written.
impl fmt::Display for Origins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, origin) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            // Only what is ASCII was taken.
            write!(f, "{comma}{}", origin.to_str().unwrap_or_default())?;
        }
        Ok(())
    }
}

/// One that a browser could send, letter by letter: another spelling would never be equal to one.
fn origin(text: &str) -> Option<HeaderValue> {
    let (scheme, authority) = text.split_once("://")?;
    let own_port = match scheme {
        "http" => ":80",
        "https" => ":443",
        _ => return None,
    };
    let is_host = |byte: u8| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'-' | b':' | b'[' | b']')
    };
    if !authority.bytes().all(is_host) || authority.ends_with(own_port) || authority.ends_with(':') {
        return None;
    }
    let uri: Uri = text.parse().ok()?;
    let port = authority.rsplit_once(']').map_or(authority, |(_, port)| port).rsplit_once(':');
    let is_port = port.is_none_or(|(_, port)| port.parse::<u16>().is_ok_and(|port| port > 0));
    if uri.host().is_some_and(|host| !host.is_empty()) && is_port { text.parse().ok() } else { None }
}
