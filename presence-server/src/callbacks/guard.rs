//! Where callbacks may go: nobody's URL, and no answer of a name server, leads into the network of this machine unless
//! its operator says so.
//!
//! A URL is judged when it is configured: its scheme, its port, and the address where it has one instead of a name. A
//! name is judged when it is resolved, and the addresses that pass are the ones that are dialled: nothing asks again
//! between the look and the call, so a name server that changes its mind gains nothing.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::target::{CallbackUrl, Host};

/// The ports of those who receive callbacks on the internet.
const PORTS: [u16; 2] = [443, 8443];
/// Where clouds hand out credentials though the address is not link-local.
const METADATA: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
];

/// Which addresses callbacks may go to.
///
/// ```
/// use presence_server::callbacks::Guard;
///
/// let guard = Guard::default();
/// assert!(guard.permits("8.8.8.8".parse()?) && !guard.permits("10.0.0.1".parse()?));
/// assert!(Guard::allowing_private().permits("10.0.0.1".parse()?));
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Guard {
    allow_private: bool,
}

/// Why a URL is not one that callbacks may go to.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Forbidden {
    /// It would go out in the clear.
    #[error("must begin with https://, unless CALLBACK_ALLOW_PRIVATE is 1")]
    Plain,
    /// No receiver listens there.
    #[error("must lead to port 443 or 8443, unless CALLBACK_ALLOW_PRIVATE is 1")]
    Port,
    /// It leads to this machine or its network.
    #[error("must not lead to this machine or a private network, unless CALLBACK_ALLOW_PRIVATE is 1")]
    Private,
    /// It leads to what is nobody's receiver: a link-local, multicast or reserved address.
    #[error("must not lead to a link-local, multicast or reserved address")]
    Reserved,
}

/// No address of a name may be dialled.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("no address of the name may be dialled")]
pub(super) struct Blocked;

impl Guard {
    /// One that lets callbacks also go to this machine and to private networks, without TLS and to any port; never to
    /// where clouds hand out credentials.
    #[must_use]
    pub const fn allowing_private() -> Self {
        Self { allow_private: true }
    }

    /// Whether plain and private targets are allowed.
    pub(super) const fn allows_private(self) -> bool {
        self.allow_private
    }

    /// Whether `address` may be dialled.
    #[must_use]
    pub fn permits(self, address: IpAddr) -> bool {
        is_public(address) || (self.allow_private && is_private(address))
    }

    /// Judges all of a URL that can be judged before its name is resolved.
    ///
    /// # Errors
    ///
    /// [`Forbidden`] says what is in the way.
    pub fn check(self, url: &CallbackUrl) -> Result<(), Forbidden> {
        match url.host() {
            Host::Address(address) if is_private(address) && !self.allow_private => {
                return Err(Forbidden::Private);
            }
            Host::Address(address) if !self.permits(address) => return Err(Forbidden::Reserved),
            Host::Name(name) if is_local(name) && !self.allow_private => return Err(Forbidden::Private),
            _ => {}
        }
        if !self.allow_private && !url.is_https() {
            return Err(Forbidden::Plain);
        }
        if !self.allow_private && !PORTS.contains(&url.port()) {
            return Err(Forbidden::Port);
        }
        Ok(())
    }
}

/// Whether `address` is one that anybody on the internet may reach.
///
/// Not so are loopback, private, shared, link-local, multicast, documentation, benchmarking and reserved addresses, nor
/// forms of IPv6 that carry one of them to IPv4. Forms that nobody uses any more (IPv4-compatible, 6to4, Teredo) and the
/// addresses of protocols (2001::/23) are not either, whatever they carry.
///
/// ```
/// use presence_server::callbacks::is_public;
///
/// assert!(is_public("2606:4700::1111".parse()?) && is_public("64:ff9b::8.8.8.8".parse()?));
/// assert!(!is_public("169.254.169.254".parse()?) && !is_public("::ffff:127.0.0.1".parse()?));
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
#[must_use]
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => match embedded(address) {
            Some(address) => is_public_v4(address),
            None => is_public_v6(address),
        },
    }
}

/// By IANA's registry of special addresses.
const fn is_public_v4(address: Ipv4Addr) -> bool {
    !matches!(
        address.octets(),
        [0 | 10 | 127 | 224..=255, ..] // this network, private, loopback, multicast, reserved and broadcast
            | [100, 64..=127, ..] // shared by a provider's customers
            | [169, 254, ..] // link-local
            | [172, 16..=31, ..] // private
            | [192, 0, 0 | 2, _] // protocols, documentation
            | [192, 88, 99, _] // relays of 6to4
            | [192, 168, ..] // private
            | [198, 18..=19, ..] // benchmarks
            | [198, 51, 100, _] // documentation
            | [203, 0, 113, _] // documentation
    )
}

/// What is handed out to networks, 2000::/3, less what is not.
const fn is_public_v6(address: Ipv6Addr) -> bool {
    let [first, second, ..] = address.segments();
    match first {
        0x2001 => second >= 0x0200 && second != 0x0db8, // protocols with Teredo, documentation
        0x2002 => false,                                // 6to4
        0x3fff => second >= 0x1000,                     // documentation
        _ => first & 0xe000 == 0x2000,
    }
}

/// The IPv4 address that packets to `address` go to: mapped, or translated by NAT64.
const fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    match address.segments() {
        [0, 0, 0, 0, 0, 0xffff, ..] | [0x64, 0xff9b, 0, 0, 0, 0, ..] => {
            let [.., a, b, c, d] = address.octets();
            Some(Ipv4Addr::new(a, b, c, d))
        }
        _ => None,
    }
}

/// Whether `address` is this machine, or of a network that its operator may have built.
fn is_private(address: IpAddr) -> bool {
    match address.to_canonical() {
        address if METADATA.contains(&address) => false,
        IpAddr::V4(address) => {
            let is_shared = matches!(address.octets(), [100, 64..=127, ..]);
            address.is_loopback() || address.is_private() || is_shared
        }
        IpAddr::V6(address) => address.is_loopback() || address.is_unique_local(),
    }
}

/// Whether a name is this machine's by definition (RFC 6761).
fn is_local(name: &str) -> bool {
    let name = name.trim_end_matches('.');
    name == "localhost" || name.ends_with(".localhost")
}

/// Names as the machine resolves them.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct SystemDns;

impl Resolve for SystemDns {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

/// Names whose addresses the guard permits.
pub(super) struct GuardedDns {
    pub(super) guard: Guard,
    pub(super) dns: Arc<dyn Resolve>,
}

impl Resolve for GuardedDns {
    fn resolve(&self, name: Name) -> Resolving {
        let (guard, found) = (self.guard, self.dns.resolve(name));
        Box::pin(async move {
            let permitted: Vec<SocketAddr> =
                found.await?.filter(|address| guard.permits(address.ip())).collect();
            if permitted.is_empty() {
                return Err(Blocked.into());
            }
            Ok(Box::new(permitted.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Public, private (dialled where the operator says so), or never dialled.
    const PUBLIC: (bool, bool) = (true, true);
    const PRIVATE: (bool, bool) = (false, true);
    const NEVER: (bool, bool) = (false, false);

    #[test]
    fn each_address_is_public_private_or_never_dialled() {
        let table = [
            // IPv4, at the edges of each range.
            ("0.0.0.0", NEVER),
            ("0.1.2.3", NEVER),
            ("1.0.0.1", PUBLIC),
            ("8.8.8.8", PUBLIC),
            ("9.255.255.255", PUBLIC),
            ("10.0.0.0", PRIVATE),
            ("10.255.255.255", PRIVATE),
            ("11.0.0.0", PUBLIC),
            ("100.63.255.255", PUBLIC),
            ("100.64.0.0", PRIVATE),
            ("100.100.100.199", PRIVATE),
            ("100.100.100.200", NEVER),
            ("100.127.255.255", PRIVATE),
            ("100.128.0.0", PUBLIC),
            ("126.255.255.255", PUBLIC),
            ("127.0.0.1", PRIVATE),
            ("127.255.255.254", PRIVATE),
            ("128.0.0.1", PUBLIC),
            ("169.253.255.255", PUBLIC),
            ("169.254.0.1", NEVER),
            ("169.254.169.254", NEVER),
            ("169.255.0.0", PUBLIC),
            ("172.15.255.255", PUBLIC),
            ("172.16.0.0", PRIVATE),
            ("172.31.255.255", PRIVATE),
            ("172.32.0.0", PUBLIC),
            ("191.255.255.255", PUBLIC),
            ("192.0.0.1", NEVER),
            ("192.0.0.170", NEVER),
            ("192.0.1.1", PUBLIC),
            ("192.0.2.1", NEVER),
            ("192.0.3.1", PUBLIC),
            ("192.88.98.1", PUBLIC),
            ("192.88.99.1", NEVER),
            ("192.167.255.255", PUBLIC),
            ("192.168.0.1", PRIVATE),
            ("192.168.255.255", PRIVATE),
            ("192.169.0.0", PUBLIC),
            ("198.17.255.255", PUBLIC),
            ("198.18.0.1", NEVER),
            ("198.19.255.255", NEVER),
            ("198.20.0.0", PUBLIC),
            ("198.51.99.255", PUBLIC),
            ("198.51.100.7", NEVER),
            ("203.0.112.255", PUBLIC),
            ("203.0.113.7", NEVER),
            ("203.0.114.0", PUBLIC),
            ("223.255.255.255", PUBLIC),
            ("224.0.0.1", NEVER),
            ("239.255.255.250", NEVER),
            ("240.0.0.1", NEVER),
            ("255.255.255.255", NEVER),
            // IPv6.
            ("::", NEVER),
            ("::1", PRIVATE),
            ("::2", NEVER),
            ("100::1", NEVER),
            ("1fff:ffff::1", NEVER),
            ("2000::1", PUBLIC),
            ("2001::1", NEVER),
            ("2001:0:4136:e378:8000:63bf:3fff:fdd2", NEVER),
            ("2001:2::1", NEVER),
            ("2001:20::1", NEVER),
            ("2001:1ff:ffff::1", NEVER),
            ("2001:200::1", PUBLIC),
            ("2001:4860:4860::8888", PUBLIC),
            ("2001:db7:ffff::1", PUBLIC),
            ("2001:db8::1", NEVER),
            ("2001:db9::1", PUBLIC),
            ("2606:4700:4700::1111", PUBLIC),
            ("3ffe::1", PUBLIC),
            ("3fff::1", NEVER),
            ("3fff:fff:ffff::1", NEVER),
            ("3fff:1000::1", PUBLIC),
            ("4000::1", NEVER),
            ("5f00::1", NEVER),
            ("fbff::1", NEVER),
            ("fc00::1", PRIVATE),
            ("fd00:ec2::253", PRIVATE),
            ("fd00:ec2::254", NEVER),
            ("fdff:ffff::1", PRIVATE),
            ("fe80::1", NEVER),
            ("fe80::a9fe:a9fe", NEVER),
            ("febf::1", NEVER),
            ("fec0::1", NEVER),
            ("ff02::1", NEVER),
            ("ff0e::1", NEVER),
            // IPv6 that carries IPv4.
            ("::ffff:8.8.8.8", PUBLIC),
            ("::ffff:127.0.0.1", PRIVATE),
            ("::ffff:10.0.0.1", PRIVATE),
            ("::ffff:0.0.0.0", NEVER),
            ("::ffff:169.254.169.254", NEVER),
            ("::127.0.0.1", NEVER),
            ("::8.8.8.8", NEVER),
            ("::ffff:0:127.0.0.1", NEVER),
            ("64:ff9b::8.8.8.8", PUBLIC),
            ("64:ff9b::127.0.0.1", NEVER),
            ("64:ff9b::10.0.0.1", NEVER),
            ("64:ff9b::169.254.169.254", NEVER),
            ("64:ff9b:1::8.8.8.8", NEVER),
            ("64:ff9b:0:0:0:1:808:808", NEVER),
            ("2002:7f00:1::1", NEVER),
            ("2002:a00:1::1", NEVER),
            ("2002:808:808::1", NEVER),
        ];
        for (text, expected) in table {
            let address: IpAddr = text.parse().unwrap();
            let judged = (Guard::default().permits(address), Guard::allowing_private().permits(address));
            assert_eq!(judged, expected, "{text}");
            assert_eq!(is_public(address), expected == PUBLIC, "{text}");
        }
    }

    #[test]
    fn a_url_is_judged_when_it_is_configured() {
        use Forbidden::{Plain, Port, Private, Reserved};
        for (text, expected, where_private_is_allowed) in [
            ("https://hooks.example/", Ok(()), Ok(())),
            ("https://hooks.example:8443/", Ok(()), Ok(())),
            ("https://8.8.8.8/", Ok(()), Ok(())),
            ("https://[2606:4700::1111]/", Ok(()), Ok(())),
            ("https://hooks.example:8080/", Err(Port), Ok(())),
            ("https://hooks.example:22/", Err(Port), Ok(())),
            ("http://hooks.example/", Err(Plain), Ok(())),
            ("http://hooks.example:443/", Err(Plain), Ok(())),
            ("http://8.8.8.8/", Err(Plain), Ok(())),
            ("https://localhost/", Err(Private), Ok(())),
            ("https://LocalHost./", Err(Private), Ok(())),
            ("https://a.localhost/", Err(Private), Ok(())),
            ("http://127.0.0.1:8080/sync/room", Err(Private), Ok(())),
            ("https://127.0.0.1/", Err(Private), Ok(())),
            ("https://2130706433/", Err(Private), Ok(())),
            ("https://0x7f.1/", Err(Private), Ok(())),
            ("https://[::1]/", Err(Private), Ok(())),
            ("https://[::ffff:10.0.0.1]/", Err(Private), Ok(())),
            ("https://192.168.1.1/", Err(Private), Ok(())),
            ("https://169.254.169.254/", Err(Reserved), Err(Reserved)),
            ("http://169.254.169.254/latest/meta-data", Err(Reserved), Err(Reserved)),
            ("https://[::ffff:169.254.169.254]/", Err(Reserved), Err(Reserved)),
            ("https://0/", Err(Reserved), Err(Reserved)),
            ("https://[::]/", Err(Reserved), Err(Reserved)),
            ("https://[fe80::1]/", Err(Reserved), Err(Reserved)),
            ("https://224.0.0.1/", Err(Reserved), Err(Reserved)),
            ("https://203.0.113.7/", Err(Reserved), Err(Reserved)),
        ] {
            let url: CallbackUrl = text.parse().unwrap();
            assert_eq!(Guard::default().check(&url), expected, "{text}");
            assert_eq!(Guard::allowing_private().check(&url), where_private_is_allowed, "{text}");
        }
    }
}
