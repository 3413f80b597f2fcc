//! A client of HTTP that makes one request for each connection.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// How long an answer may take.
const LIMIT: Duration = Duration::from_secs(20);

/// Sends `bytes` to `port` of this host, and returns all that comes until the other side ends the
/// connection.
///
/// # Errors
///
/// The connection is refused, reset or too slow.
pub fn send(port: u16, bytes: &[u8]) -> Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).context("no connection")?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.set_write_timeout(Some(LIMIT))?;
    stream
        .write_all(bytes)
        .context("the request was not taken")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).context("no whole answer")?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// Makes a request, and returns the status and the body.
///
/// # Errors
///
/// As [`send`], and if the answer isn't one.
pub fn ask(port: u16, method: &str, path: &str, body: &str) -> Result<(u16, String)> {
    let length = body.len();
    let head = format!("{method} {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n");
    let length = match length {
        0 => String::new(),
        _ => format!("Content-Length: {length}\r\n"),
    };
    let request = format!("{head}{length}\r\n{body}");
    let answer = send(port, request.as_bytes());
    let answer = answer.with_context(|| format!("{method} {path}"))?;
    let Some((head, body)) = answer.split_once("\r\n\r\n") else {
        bail!("{method} {path}: no answer: {answer:?}");
    };
    Ok((status(head)?, body.to_owned()))
}

/// Returns the status of an answer.
///
/// # Errors
///
/// It has none.
pub fn status(answer: &str) -> Result<u16> {
    let words = answer.strip_prefix("HTTP/1.1 ");
    let number = words.and_then(|words| words.get(..3)?.parse().ok());
    number.with_context(|| format!("no status: {answer:?}"))
}
