//! A network card on QEMU's user network.

use std::net::TcpListener;

use anyhow::{Context, Result};

/// Returns the port of the host that `wanted` names; any that is free now if it is empty.
///
/// # Errors
///
/// `wanted` isn't a port, or no port is free.
pub fn free_port(wanted: &str) -> Result<u16> {
    if !wanted.is_empty() {
        return wanted
            .parse()
            .with_context(|| format!("PORT={wanted} is no port"));
    }
    let free = TcpListener::bind(("127.0.0.1", 0)).context("a free port")?;
    Ok(free.local_addr()?.port())
}

/// Returns QEMU's arguments for a card by virtio over MMIO; `port` of this host, for loopback only,
/// leads to port 80 of the machine.
#[must_use]
pub fn forwarding(port: u16) -> [String; 4] {
    let forward = format!("hostfwd=tcp:127.0.0.1:{port}-:80");
    [
        "-netdev".to_owned(),
        format!("user,id=net0,{forward}"),
        "-device".to_owned(),
        "virtio-net-device,netdev=net0".to_owned(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_the_one_wanted_or_a_free_one() {
        assert_eq!(free_port("8080").expect("a port"), 8080);
        assert!(free_port("").expect("a port") > 1023);
        for wrong in ["x", "-1", "65536"] {
            let why = free_port(wrong).expect_err("no port").to_string();
            assert_eq!(why, format!("PORT={wrong} is no port"));
        }
    }
}
