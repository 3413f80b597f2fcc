use core::net::{Ipv6Addr, SocketAddr};
use core::time::Duration;

use stillpoint::api::Errno;
use stillpoint::api::net::UdpSocket;
use stillpoint::api::task::block_on;

/// Sends a datagram to another socket and gets it back; returns its length.
pub(crate) fn there_and_back() -> Result<usize, Errno> {
    let any = SocketAddr::from((Ipv6Addr::LOCALHOST, 0));
    let (one, other) = (UdpSocket::bind(any)?, UdpSocket::bind(any)?);
    one.set_timeout(Some(Duration::from_secs(5)));
    one.send_to(b"ping", other.local_addr()?)?;
    let mut buffer = [0; 64];
    block_on(async {
        let (read, from) = other.recv_from_async(&mut buffer).await?;
        other.send_to_async(&buffer[..read], from).await
    })?;
    let (read, _) = one.recv_from(&mut buffer)?;
    // Nothing more is there, and a loop would go on with something else.
    match one.try_recv_from(&mut buffer) {
        Err(Errno::Again) => one.try_send_to(&buffer[..read], other.local_addr()?),
        _ => Err(Errno::Io),
    }
}
