//! The addresses of the interface: loopback, given ones, and those of DHCP.

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr};
use core::task::{Poll, Waker};

use smoltcp::socket::dhcpv4;
use smoltcp::wire::{EthernetAddress, IpAddress, IpCidr, Ipv6Cidr};

use super::ip_arg::can_be_a_machines;
use super::stack::Core;
use super::{NetPort, Stack};
use crate::errno::Errno;

/// The prefix of link-local addresses: RFC 4291, section 2.5.6.
const LINK_LOCAL: u8 = 64;

/// What is fixed about the addresses of the port.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// Ask for an IPv4 address by DHCP.
    pub dhcp: bool,
    /// Addresses with the lengths of their networks' prefixes.
    pub addresses: Vec<(IpAddr, u8)>,
    /// The routers for all other networks, one for IPv4 and one for IPv6.
    pub gateways: Vec<IpAddr>,
    /// Name servers, for the program.
    pub name_servers: Vec<IpAddr>,
}

/// Returns the link-local address of a port: RFC 4291, appendix A.
fn link_local(mac: [u8; 6]) -> Option<IpCidr> {
    let prefix = Ipv6Cidr::new([0xfe80, 0, 0, 0, 0, 0, 0, 0].into(), LINK_LOCAL);
    Ipv6Cidr::from_link_prefix(&prefix, EthernetAddress(mac).into()).map(IpCidr::Ipv6)
}

impl<P: NetPort> Stack<P> {
    /// Sets the addresses of the port as `config` says. Connections from addresses that are no
    /// longer the machine's end with ENETDOWN.
    pub fn configure(&mut self, config: &Config) {
        let given = config.addresses.iter();
        let given = given.map(|(address, prefix)| IpCidr::new((*address).into(), *prefix));
        self.set_addresses(given.collect());
        for gateway in &config.gateways {
            self.set_gateway(*gateway);
        }
        self.core.name_servers = config.name_servers.clone();
        let core = &mut self.core;
        match (config.dhcp && self.link.has_port(), core.dhcp) {
            (true, None) => core.dhcp = Some(core.common.add(dhcpv4::Socket::new())),
            (false, Some(handle)) => {
                core.common.remove(handle);
                core.dhcp = None;
            }
            _ => {}
        }
        core.touch_all();
    }

    /// Returns the interface's addresses, and the lengths of their networks' prefixes.
    pub fn addresses(&self) -> Vec<(IpAddr, u8)> {
        let addresses = self.core.iface.ip_addrs().iter();
        let pairs = addresses.map(|cidr| (cidr.address().into(), cidr.prefix_len()));
        pairs.collect()
    }

    /// Returns whether the port has an address by which it can be reached from further than its own
    /// link.
    pub fn is_up(&mut self, waker: Option<&Waker>) -> Poll<Result<(), Errno>> {
        if self
            .core
            .iface
            .ip_addrs()
            .iter()
            .any(|cidr| !is_always_there(cidr))
        {
            return Poll::Ready(Ok(()));
        }
        if let Some(waker) = waker {
            let Core {
                for_address, wakes, ..
            } = &mut self.core;
            for_address.add(waker, wakes);
        }
        Poll::Pending
    }

    /// Returns the routers for all other networks.
    pub fn gateways(&self) -> Vec<IpAddr> {
        let routes = self.core.iface.routes();
        let routes = [
            routes.get_default_ipv4_route(),
            routes.get_default_ipv6_route(),
        ];
        let routers = routes.into_iter().flatten();
        routers.map(|route| route.via_router.into()).collect()
    }

    /// Returns the name servers that were given, or that DHCP has named.
    pub fn name_servers(&self) -> &[IpAddr] {
        &self.core.name_servers
    }

    /// Gives the interface `addresses`, and those that it always has.
    pub(super) fn set_addresses(&mut self, addresses: Vec<IpCidr>) {
        let mut all: Vec<IpCidr> = addresses;
        all.retain(|cidr| cidr.address().is_unicast());
        // Not /8: no other address of loopback is there, and none of them is to be asked for.
        all.push(IpCidr::new(Ipv4Addr::LOCALHOST.into(), 32));
        all.push(IpCidr::new(IpAddress::v6(0, 0, 0, 0, 0, 0, 0, 1), 128));
        if let Some(mac) = self.mac() {
            all.extend(link_local(mac));
        }
        let mut own: Vec<IpAddr> = Vec::new();
        self.core.iface.update_ip_addrs(|addresses| {
            addresses.clear();
            for cidr in all {
                if addresses.push(cidr).is_ok() {
                    own.push(cidr.address().into());
                }
            }
        });
        self.link.set_own(own.clone());
        self.core.own = own;
        self.core.for_address.wake(&mut self.core.wakes);
    }

    fn set_gateway(&mut self, gateway: IpAddr) {
        let routes = self.core.iface.routes_mut();
        let full = match gateway {
            IpAddr::V4(gateway) => routes.add_default_ipv4_route(gateway).is_err(),
            IpAddr::V6(gateway) => routes.add_default_ipv6_route(gateway).is_err(),
        };
        if full {
            log::warn!("net: no room for the route by {gateway}");
        }
    }

    /// Does what DHCP has found.
    pub(super) fn look_dhcp(&mut self) {
        let Some(handle) = self.core.dhcp else {
            return;
        };
        let socket = self.core.common.get_mut::<dhcpv4::Socket>(handle);
        let lease = match socket.poll() {
            None => return,
            Some(dhcpv4::Event::Deconfigured) => None,
            Some(dhcpv4::Event::Configured(config)) => {
                let servers = config.dns_servers.iter();
                let servers: Vec<IpAddr> = servers.map(|server| (*server).into()).collect();
                Some((config.address, config.router, servers))
            }
        };
        let kept = self.core.iface.ip_addrs().iter().copied();
        let kept = kept.filter(|cidr| matches!(cidr, IpCidr::Ipv6(_)));
        let mut addresses: Vec<IpCidr> = kept.filter(|cidr| !is_always_there(cidr)).collect();
        self.core.iface.routes_mut().remove_default_ipv4_route();
        if let Some((address, router, servers)) = lease {
            addresses.insert(0, IpCidr::Ipv4(address));
            self.set_addresses(addresses);
            match router.map(IpAddr::from) {
                Some(router) if can_be_a_machines(router) => self.set_gateway(router),
                Some(router) => log::warn!("eth0: DHCP names a router that can be none: {router}"),
                None => {}
            }
            log::info!("eth0: {address} by DHCP");
            self.core.name_servers = servers;
        } else {
            self.set_addresses(addresses);
        }
        self.core.touch_all();
    }
}

/// Whether [`Stack::set_addresses`] adds it by itself.
fn is_always_there(cidr: &IpCidr) -> bool {
    match cidr {
        IpCidr::Ipv4(cidr) => cidr.address().is_loopback(),
        IpCidr::Ipv6(cidr) => {
            let address = cidr.address();
            address.is_loopback() || address.is_unicast_link_local()
        }
    }
}
