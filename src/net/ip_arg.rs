//! The boot argument `ip=`, as Linux has it.
//!
//! ```text
//! ip=dhcp                    also on, any: ask for an address by DHCP
//! ip=off                     also none: no address but loopback and link-local ones
//! ip=CLIENT:SERVER:GATEWAY:NETMASK:HOSTNAME:DEVICE:AUTOCONF:DNS0:DNS1:NTP0
//! ```
//! Fields at the end may be left out, and any field may be empty. SERVER, HOSTNAME and NTP0 are
//! accepted and not used. An empty NETMASK is that of the class of CLIENT. DEVICE is `eth0`, or
//! empty. AUTOCONF is one of the words above. With `dhcp` only the name servers are used of the
//! others.
//!
//! Beyond Linux's kernel, and as its boot images have it: NETMASK may be the length of a prefix, and
//! addresses may be those of IPv6, in brackets.
//!
//! # Sources
//! Linux `Documentation/admin-guide/nfs/nfsroot.rst`; dracut.cmdline(7).

use core::net::{IpAddr, Ipv4Addr};

use super::Config;

/// How many fields there are.
const FIELDS: usize = 10;

/// The value of `ip=`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IpArg {
    dhcp: bool,
    client: Option<(IpAddr, u8)>,
    gateway: Option<IpAddr>,
    name_servers: [Option<IpAddr>; 2],
}

/// What is wrong with a value of `ip=`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IpArgError {
    /// There are more than ten fields.
    TooManyFields,
    /// The client's address isn't one, or none that a machine can have.
    Client,
    /// There is neither an address nor DHCP.
    NoClient,
    /// The gateway's address isn't one of the client's kind.
    Gateway,
    /// The netmask is neither one nor the length of a prefix.
    Netmask,
    /// There is no such device.
    Device,
    /// No such way of configuration.
    Autoconf,
    /// The address of a name server isn't one.
    NameServer,
}

impl IpArgError {
    /// Returns what is wrong.
    pub const fn text(self) -> &'static str {
        match self {
            Self::TooManyFields => "more than ten fields",
            Self::Client => "its client address is none of a machine",
            Self::NoClient => "neither a client address nor dhcp",
            Self::Gateway => "its gateway is no address of the client's kind",
            Self::Netmask => "no such netmask",
            Self::Device => "no such device: eth0 is the only one",
            Self::Autoconf => "its autoconf is none of dhcp, on, any, off, none",
            Self::NameServer => "the address of a name server isn't one",
        }
    }
}

impl IpArg {
    /// Returns what `value` means.
    ///
    /// # Errors
    /// [`IpArgError`] for the first field that is wrong.
    pub fn parse(value: &str) -> Result<IpArg, IpArgError> {
        if let Some(dhcp) = autoconf(value) {
            return Ok(IpArg {
                dhcp,
                ..IpArg::default()
            });
        }
        let mut fields = [""; FIELDS];
        for (place, field) in split(value).enumerate() {
            *fields.get_mut(place).ok_or(IpArgError::TooManyFields)? = field;
        }
        let [client, _, gateway, netmask, _, device, how, dns0, dns1, _] = fields;
        if !matches!(device, "" | "eth0") {
            return Err(IpArgError::Device);
        }
        let dhcp = match how {
            "" => client.is_empty(),
            how => autoconf(how).ok_or(IpArgError::Autoconf)?,
        };
        let server = |field| address(field).map_err(|()| IpArgError::NameServer);
        let name_servers = [server(dns0)?, server(dns1)?];
        let mut arg = IpArg {
            dhcp,
            name_servers,
            ..IpArg::default()
        };
        if dhcp {
            return match value.is_empty() {
                true => Err(IpArgError::NoClient),
                false => Ok(arg),
            };
        }
        let client = address(client).map_err(|()| IpArgError::Client)?;
        let client = client.ok_or(IpArgError::NoClient)?;
        if !can_be_a_machines(client) {
            return Err(IpArgError::Client);
        }
        arg.client = Some((client, prefix(netmask, client).ok_or(IpArgError::Netmask)?));
        arg.gateway = address(gateway).map_err(|()| IpArgError::Gateway)?;
        let fits =
            |gateway: IpAddr| gateway.is_ipv4() == client.is_ipv4() && can_be_a_machines(gateway);
        if !arg.gateway.is_none_or(fits) {
            return Err(IpArgError::Gateway);
        }
        Ok(arg)
    }

    /// Returns what the stack is to do.
    pub fn config(&self) -> Config {
        Config {
            dhcp: self.dhcp,
            addresses: self.client.into_iter().collect(),
            gateways: self.gateway.into_iter().collect(),
            name_servers: self.name_servers.into_iter().flatten().collect(),
        }
    }
}

/// Returns the fields of `value`. A colon in brackets is part of an address. Allocates nothing:
/// the command line is read before there is a heap.
fn split(value: &str) -> impl Iterator<Item = &str> {
    let mut in_brackets = false;
    value.split(move |c: char| {
        match c {
            '[' => in_brackets = true,
            ']' => in_brackets = false,
            _ => {}
        }
        c == ':' && !in_brackets
    })
}

/// Returns whether a word of AUTOCONF asks for DHCP, or `None` if it is no such word.
fn autoconf(word: &str) -> Option<bool> {
    match word {
        "dhcp" | "on" | "any" => Some(true),
        "off" | "none" => Some(false),
        _ => None,
    }
}

/// Returns the address that `field` is; `None` if it is empty.
fn address(field: &str) -> Result<Option<IpAddr>, ()> {
    if field.is_empty() {
        return Ok(None);
    }
    let inner = field.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
    let address = match inner {
        Some(inner) => IpAddr::V6(inner.parse().map_err(|_| ())?),
        None => IpAddr::V4(field.parse().map_err(|_| ())?),
    };
    Ok(Some(address))
}

/// Returns whether `address` can be that of one machine on a link.
pub(super) fn can_be_a_machines(address: IpAddr) -> bool {
    let none = address.is_unspecified() || address.is_multicast() || address.is_loopback();
    !none && address != IpAddr::V4(Ipv4Addr::BROADCAST)
}

/// Returns the length of the prefix that `netmask` stands for, for `client`.
fn prefix(netmask: &str, client: IpAddr) -> Option<u8> {
    match client {
        IpAddr::V6(_) if netmask.is_empty() => Some(64),
        IpAddr::V6(_) => length(netmask, 128),
        IpAddr::V4(client) if netmask.is_empty() => Some(match client.octets()[0] {
            0..128 => 8,
            128..192 => 16,
            192.. => 24,
        }),
        IpAddr::V4(_) => match netmask.parse::<Ipv4Addr>() {
            Ok(mask) => {
                let bits = mask.to_bits();
                let ones = u8::try_from(bits.leading_ones()).ok()?;
                (bits.count_ones() == u32::from(ones) && ones > 0).then_some(ones)
            }
            Err(_) => length(netmask, 32),
        },
    }
}

fn length(text: &str, most: u8) -> Option<u8> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let length = text.parse().ok().filter(|_| digits)?;
    (1..=most).contains(&length).then_some(length)
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    fn given(value: &str) -> Config {
        IpArg::parse(value).expect("it is right").config()
    }

    #[test]
    fn words_alone() {
        for word in ["dhcp", "on", "any"] {
            assert!(given(word).dhcp, "{word}");
        }
        for word in ["off", "none"] {
            assert_eq!(given(word), Config::default(), "{word}");
        }
        assert!(given(":::::eth0:dhcp").dhcp);
        assert!(given("::::host:eth0").dhcp);
    }

    #[test]
    fn addresses() {
        let of = |value| {
            let config = given(value);
            assert!(!config.dhcp);
            (config.addresses, config.gateways)
        };
        let ip = |text: &str| text.parse::<IpAddr>().expect("an address");
        assert_eq!(
            of("10.0.2.15::10.0.2.2:255.255.255.0::eth0:off"),
            (vec![(ip("10.0.2.15"), 24)], vec![ip("10.0.2.2")])
        );
        assert_eq!(of("10.0.2.15"), (vec![(ip("10.0.2.15"), 8)], vec![]));
        assert_eq!(of("172.16.0.9:::"), (vec![(ip("172.16.0.9"), 16)], vec![]));
        assert_eq!(of("192.0.2.1:::31"), (vec![(ip("192.0.2.1"), 31)], vec![]));
        assert_eq!(
            of("[fec0::15]::[fec0::2]:64::eth0:none"),
            (vec![(ip("fec0::15"), 64)], vec![ip("fec0::2")])
        );
        let servers = given("192.0.2.1::::::off:192.0.2.3:[fec0::3]").name_servers;
        assert_eq!(servers, [ip("192.0.2.3"), ip("fec0::3")]);
    }

    #[test]
    fn what_is_wrong() {
        for (value, error) in [
            ("", IpArgError::NoClient),
            ("10.0.2.15:::::::::::", IpArgError::TooManyFields),
            ("bootp", IpArgError::Client),
            ("10.0.2.256", IpArgError::Client),
            ("127.0.0.1", IpArgError::Client),
            ("224.0.0.1", IpArgError::Client),
            ("255.255.255.255", IpArgError::Client),
            ("0.0.0.0", IpArgError::Client),
            ("[10.0.2.15]", IpArgError::Client),
            ("fec0::15", IpArgError::Client),
            (":::::eth0:off", IpArgError::NoClient),
            ("10.0.2.15::[fec0::2]", IpArgError::Gateway),
            ("10.0.2.15::x", IpArgError::Gateway),
            ("10.0.2.15:::255.0.255.0", IpArgError::Netmask),
            ("10.0.2.15:::33", IpArgError::Netmask),
            ("10.0.2.15:::+8", IpArgError::Netmask),
            ("10.0.2.15:::0.0.0.0", IpArgError::Netmask),
            ("[fec0::15]:::129", IpArgError::Netmask),
            ("10.0.2.15:::::eth1", IpArgError::Device),
            ("10.0.2.15::::::rarp", IpArgError::Autoconf),
            ("10.0.2.15::::::off:ns", IpArgError::NameServer),
        ] {
            assert_eq!(IpArg::parse(value), Err(error), "{value}");
        }
    }
}
