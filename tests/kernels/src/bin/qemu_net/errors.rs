//! Each error of a socket, by the name that Linux gives it.

use core::net::{Ipv4Addr, SocketAddr};
use core::time::Duration;

use stillpoint::api::Errno;
use stillpoint::api::net::{Shutdown, TcpListener, TcpStream, UdpSocket};

use kernel_support::ktap::Ktap;
use kernel_support::unharmed::same;

const ANY: SocketAddr = SocketAddr::new(core::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

pub(crate) fn check(ktap: &mut Ktap) {
    ktap.check("addresses in use, and others'", addresses());
    ktap.check("refused, and unreachable", refused());
    ktap.check("the end, and after it", end());
    ktap.check("unread bytes have the peer get a reset", reset());
    ktap.check("time limits", limits());
}

fn addresses() -> bool {
    let listener = TcpListener::bind(ANY).expect("a port is free");
    let addr = listener.local_addr().expect("it is open");
    let again = TcpListener::bind(addr).err();
    let other = SocketAddr::from(([192, 0, 2, 1], 80));
    let others = TcpListener::bind(other).err();
    let udp = UdpSocket::bind(ANY).expect("a port is free");
    let udp_again = UdpSocket::bind(udp.local_addr().expect("it is open")).err();
    drop(listener);
    same("again", again, Some(Errno::AddressInUse))
        & same("another's", others, Some(Errno::AddressNotAvailable))
        & same("datagrams", udp_again, Some(Errno::AddressInUse))
        & same("when it is free", TcpListener::bind(addr).err(), None)
}

fn refused() -> bool {
    let port = {
        let listener = TcpListener::bind(ANY).expect("a port is free");
        listener.local_addr().expect("it is open")
    };
    let far = SocketAddr::from(([192, 0, 2, 1], 80));
    same(
        "refused",
        TcpStream::connect(port).err(),
        Some(Errno::ConnectionRefused),
    ) & same(
        "unreachable",
        TcpStream::connect(far).err(),
        Some(Errno::NetworkUnreachable),
    )
}

/// Returns both ends of a connection.
fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind(ANY).expect("a port is free");
    let addr = listener.local_addr().expect("it is open");
    let client = TcpStream::connect(addr).expect("it listens");
    let (server, _) = listener.accept().expect("it has come");
    (client, server)
}

fn end() -> bool {
    let (client, server) = pair();
    client.write_all(b"last").expect("it is open");
    client.shutdown(Shutdown::Both).expect("it is open");
    let after = client.write(b"more").err();
    let mut buffer = [0; 16];
    let last = server.read(&mut buffer);
    let end = server.read(&mut buffer);
    same("written after the end", after, Some(Errno::BrokenPipe))
        & same("the last bytes", last, Ok(4))
        & same("the end", end, Ok(0))
        & same("read after the end", client.read(&mut buffer), Ok(0))
}

fn reset() -> bool {
    let (client, server) = pair();
    client.write_all(b"unread").expect("it is open");
    let mut first = [0];
    server.peek(&mut first).expect("it has come");
    drop(server);
    let mut buffer = [0; 16];
    let read = client.read(&mut buffer);
    let written = client.write(b"more");
    same("read", read, Err(Errno::ConnectionReset))
        & same("written", written, Err(Errno::BrokenPipe))
}

fn limits() -> bool {
    let listener = TcpListener::bind(ANY).expect("a port is free");
    listener.set_timeout(Some(Duration::from_millis(5)));
    let (client, server) = pair();
    client.set_read_timeout(Some(Duration::from_millis(5)));
    client.set_write_timeout(Some(Duration::from_millis(5)));
    let full = client.write_all(&[0; 100_000]).err();
    let udp = UdpSocket::bind(ANY).expect("a port is free");
    udp.set_timeout(Some(Duration::from_millis(5)));
    drop(server);
    same("accept", listener.accept().err(), Some(Errno::Again))
        & same("write", full, Some(Errno::Again))
        & same(
            "datagram",
            udp.recv_from(&mut [0]).err(),
            Some(Errno::Again),
        )
}
