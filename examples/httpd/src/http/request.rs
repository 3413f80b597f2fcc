//! The head of a request.

use core::ops::Range;

use httparse::Status as Complete;

use crate::http::fields::Fields;
use crate::http::{Found, MAX_FIELDS, Query, Refusal};

/// A version that is spoken here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.0.
    Http10,
    /// HTTP/1.1.
    Http11,
}

/// A method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// `GET`.
    Get,
    /// `HEAD`: as `GET`, without the body.
    Head,
    /// `OPTIONS`: which methods a resource has.
    Options,
    /// `PUT`.
    Put,
    /// A method of RFC 9110 or RFC 5789 that no resource here has: 405.
    Other,
    /// A word that no standard of HTTP knows: 501.
    Unknown,
}

impl Method {
    fn of(name: &str) -> Method {
        match name {
            "GET" => Method::Get,
            "HEAD" => Method::Head,
            "OPTIONS" => Method::Options,
            "PUT" => Method::Put,
            "POST" | "DELETE" | "PATCH" | "TRACE" | "CONNECT" => Method::Other,
            _ => Method::Unknown,
        }
    }
}

/// How the length of a body is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is none.
    None,
    /// By `Content-Length`: that many bytes.
    Length(usize),
    /// By chunks.
    Chunked,
}

/// What the head of a request asks for. The path and the query are ranges of the bytes that it was
/// parsed from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// The version.
    pub version: Version,
    /// How its body is framed.
    pub framing: Framing,
    /// Whether the client wants the connection to stay open.
    pub keep_alive: bool,
    /// Whether the client waits for `100 Continue` before it sends the body.
    pub expects_continue: bool,
    path: Range<usize>,
    query: Range<usize>,
}

impl Request {
    /// Returns the request whose head `found` is in `bytes`.
    ///
    /// # Errors
    /// [`Refusal`]: it isn't a head, or one that isn't obeyed here.
    pub fn parse(bytes: &[u8], found: Found) -> Result<Request, Refusal> {
        let head = bytes
            .get(found.start..found.end)
            .ok_or(Refusal::RequestLine)?;
        check_version(head)?;
        let mut room = [httparse::EMPTY_HEADER; MAX_FIELDS];
        let mut parsed = httparse::Request::new(&mut room);
        match parsed.parse(head).map_err(refusal)? {
            // Two readers that differ in where a request ends are one too many.
            Complete::Complete(length) if length == head.len() => {}
            _ => return Err(Refusal::RequestLine),
        }
        let (Some(method), Some(target), Some(minor)) =
            (parsed.method, parsed.path, parsed.version)
        else {
            return Err(Refusal::RequestLine);
        };
        let version = match minor {
            0 => Version::Http10,
            _ => Version::Http11,
        };
        let fields = Fields::read(parsed.headers, version)?;
        let method = Method::of(method);
        let at = found.start + offset(head, target);
        let (path, query) = split_target(target, method)?;
        Ok(Request {
            method,
            version,
            framing: fields.framing,
            keep_alive: fields.keep_alive,
            expects_continue: fields.expects_continue,
            path: at + path.start..at + path.end,
            query: at + query.start..at + query.end,
        })
    }

    /// Returns the path as it was sent, in `bytes`, from which the request was parsed.
    pub fn path<'b>(&self, bytes: &'b [u8]) -> &'b str {
        text(bytes, &self.path)
    }

    /// Returns the query in `bytes`, from which the request was parsed.
    pub fn query<'b>(&self, bytes: &'b [u8]) -> Query<'b> {
        Query(text(bytes, &self.query))
    }
}

/// A target is ASCII, so any part of it is text.
fn text<'b>(bytes: &'b [u8], range: &Range<usize>) -> &'b str {
    let part = bytes.get(range.clone()).unwrap_or_default();
    core::str::from_utf8(part).unwrap_or_default()
}

/// Returns where `part`, a part of `whole`, begins in it.
fn offset(whole: &[u8], part: &str) -> usize {
    part.as_ptr().addr().saturating_sub(whole.as_ptr().addr())
}

/// Tells a version that isn't spoken here from a line that isn't a request line.
fn check_version(head: &[u8]) -> Result<(), Refusal> {
    let end = head.iter().position(|byte| *byte == b'\r');
    let line = &head[..end.unwrap_or(head.len())];
    let mut words = line.split(|byte| *byte == b' ');
    let words = (words.next(), words.next(), words.next(), words.next());
    let (Some([_, ..]), Some([_, ..]), Some(version), None) = words else {
        return Err(Refusal::RequestLine);
    };
    match version {
        b"HTTP/1.0" | b"HTTP/1.1" => Ok(()),
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            Err(Refusal::Version)
        }
        _ => Err(Refusal::RequestLine),
    }
}

fn refusal(error: httparse::Error) -> Refusal {
    match error {
        httparse::Error::TooManyHeaders => Refusal::HeadTooLarge,
        httparse::Error::HeaderName | httparse::Error::HeaderValue => Refusal::Field,
        _ => Refusal::RequestLine,
    }
}

/// Returns where the path and the query are in `target` (RFC 9112, 3.2).
fn split_target(target: &str, method: Method) -> Result<(Range<usize>, Range<usize>), Refusal> {
    let is_text = |byte: u8| byte.is_ascii_graphic() && !b"#\"<>\\^`{|}".contains(&byte);
    if !target.bytes().all(is_text) || !escapes_are_whole(target) {
        return Err(Refusal::Target);
    }
    let end = target.len();
    let begin = match target {
        "*" if method == Method::Options => return Ok((0..end, end..end)),
        _ if target.starts_with('/') => 0,
        // The absolute form, which each server takes.
        _ if target
            .get(..7)
            .is_some_and(|it| it.eq_ignore_ascii_case("http://")) =>
        {
            let host = &target[7..];
            let length = host.find(['/', '?']).unwrap_or(host.len());
            if length == 0 {
                return Err(Refusal::Target);
            }
            7 + length
        }
        _ => return Err(Refusal::Target),
    };
    let query = target[begin..].find('?').map(|at| begin + at);
    Ok((
        begin..query.unwrap_or(end),
        query.map_or(end, |at| at + 1)..end,
    ))
}

/// Returns whether each `%` is followed by two hexadecimal digits.
fn escapes_are_whole(target: &str) -> bool {
    target.split('%').skip(1).all(|behind| {
        let digits = behind.as_bytes().get(..2);
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    })
}
