use alloc::string::String;
use core::net::SocketAddr;
use core::time::Duration;

use stillpoint::api::Errno;
use stillpoint::api::net::{Shutdown, TcpListener, TcpStream};

/// Returns the first line that `server` sends for the request `request`.
pub(crate) fn ask(server: SocketAddr, request: &[u8]) -> Result<String, Errno> {
    let stream = match server.port() {
        0 => return Err(Errno::Invalid),
        _ => TcpStream::connect_timeout(server, Duration::from_secs(5))?,
    };
    stream.set_read_timeout(Some(Duration::from_secs(5)));
    stream.set_write_timeout(Some(Duration::from_secs(5)));
    stream.set_keepalive(Some(Duration::from_secs(60)))?;
    stream.write_all(request)?;
    stream.shutdown(Shutdown::Write)?; // The server reads the end.
    let mut line = String::new();
    let mut buffer = [0; 256];
    loop {
        let read = stream.read(&mut buffer)?;
        let text = String::from_utf8_lossy(&buffer[..read]);
        if let Some((rest, _)) = text.split_once('\n') {
            line.push_str(rest);
            return Ok(line);
        }
        if read == 0 {
            return Ok(line);
        }
        line.push_str(&text);
    }
}

/// Answers one request at `listener`, if it comes within five seconds and begins with a G.
pub(crate) fn answer_one(listener: &TcpListener) -> Result<(), Errno> {
    listener.set_timeout(Some(Duration::from_secs(5)));
    let (stream, peer) = listener.accept()?;
    let mut first = [0];
    if stream.peek(&mut first)? == 0 || first != *b"G" {
        return Err(Errno::Invalid);
    }
    let mut request = [0; 256];
    while stream.read(&mut request)? > 0 {}
    assert_eq!(stream.peer_addr()?, peer);
    let mut rest: &[u8] = b"welcome\nto all";
    while !rest.is_empty() {
        let written = stream.write(rest)?;
        rest = &rest[written..];
    }
    Ok(())
}

/// Connects to a listener at `addr` that has place for one connection, without ever waiting but to
/// connect; returns what was read.
pub(crate) fn without_waiting(addr: SocketAddr) -> Result<u8, Errno> {
    let listener = TcpListener::bind_with_backlog(addr, 1)?;
    assert!(matches!(listener.try_accept(), Err(Errno::Again)));
    let client = TcpStream::connect(listener.local_addr()?)?;
    let (server, _) = listener.try_accept()?;
    assert_eq!(client.local_addr()?, server.peer_addr()?);
    let mut byte = [0];
    assert!(matches!(client.try_read(&mut byte), Err(Errno::Again)));
    assert_eq!(server.try_write(b"x")?, 1);
    client.read(&mut byte)?;
    Ok(byte[0])
}
