//! The header fields that this service obeys. All others are ignored.

use httparse::Header;

use crate::http::{Framing, Refusal, Version};

/// What the header fields of a request say.
#[derive(Debug)]
pub(super) struct Fields {
    pub(super) framing: Framing,
    pub(super) keep_alive: bool,
    pub(super) expects_continue: bool,
}

impl Fields {
    pub(super) fn read(headers: &[Header<'_>], version: Version) -> Result<Fields, Refusal> {
        let (mut length, mut coding, mut host) = (None, None, None);
        let (mut close, mut keep_alive, mut expects) = (false, false, false);
        for Header { name, value } in headers {
            let is = |other: &str| name.eq_ignore_ascii_case(other);
            if is("content-length") {
                once(&mut length, content_length(value)?, Refusal::ContentLength)?;
            } else if is("transfer-encoding") {
                once(&mut coding, (), Refusal::TransferEncoding)?;
                check_codings(value)?;
            } else if is("host") {
                check_host(value)?;
                once(&mut host, (), Refusal::Host)?;
            } else if is("connection") {
                for word in words(value) {
                    close |= word.eq_ignore_ascii_case(b"close");
                    keep_alive |= word.eq_ignore_ascii_case(b"keep-alive");
                }
            } else if is("expect") && version == Version::Http11 {
                if !value.eq_ignore_ascii_case(b"100-continue") {
                    return Err(Refusal::Expectation);
                }
                expects = true;
            }
        }
        if host.is_none() && version == Version::Http11 {
            return Err(Refusal::Host);
        }
        let framing = match (length, coding) {
            (Some(_), Some(())) => return Err(Refusal::Framing),
            (None, Some(())) if version == Version::Http10 => return Err(Refusal::Framing),
            (None, Some(())) => Framing::Chunked,
            (None | Some(0), None) => Framing::None,
            (Some(length), None) => Framing::Length(length),
        };
        Ok(Fields {
            framing,
            keep_alive: !close && (keep_alive || version == Version::Http11),
            expects_continue: expects,
        })
    }
}

/// Puts `value` where none was.
fn once<T>(place: &mut Option<T>, value: T, refusal: Refusal) -> Result<(), Refusal> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(refusal),
    }
}

/// Returns the length; one that no number holds is too large anyway. A list, a sign and white
/// space between digits are refused.
fn content_length(value: &[u8]) -> Result<usize, Refusal> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return Err(Refusal::ContentLength);
    }
    Ok(value.iter().fold(0_usize, |length, digit| {
        let digit = usize::from(digit - b'0');
        length.saturating_mul(10).saturating_add(digit)
    }))
}

/// Checks that `chunked` is the one coding.
fn check_codings(value: &[u8]) -> Result<(), Refusal> {
    let is_chunked = |word: &[u8]| word.eq_ignore_ascii_case(b"chunked");
    let mut codings = words(value);
    let (first, last) = (codings.next(), codings.last());
    match (first, last) {
        (Some(only), None) if is_chunked(only) => Ok(()),
        (Some(first), Some(last)) if is_chunked(last) && !is_chunked(first) => Err(Refusal::Coding),
        _ => Err(Refusal::TransferEncoding),
    }
}

/// Returns the words of a list.
fn words(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let words = value.split(|byte| *byte == b',');
    words
        .map(<[u8]>::trim_ascii)
        .filter(|word| !word.is_empty())
}

/// Checks that it can be a host and a port, or nothing (RFC 9112, 3.2).
fn check_host(value: &[u8]) -> Result<(), Refusal> {
    let is_one = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+;=:[]".contains(byte);
    match value.iter().all(is_one) {
        true => Ok(()),
        false => Err(Refusal::Host),
    }
}
