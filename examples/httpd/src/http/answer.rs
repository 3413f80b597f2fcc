//! The head of an answer.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::{self, Write as _};

use crate::http::{Date, Status, Version};

/// What a resource answers. The length of its body is known.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: Status,
    /// The field `Content-Type`; without one there is no body.
    pub content_type: &'static str,
    /// Further header fields, each with its CR LF.
    pub fields: &'static str,
    /// The body, if it is always the same. Otherwise it is in the text that the resource got.
    pub fixed: Option<&'static str>,
}

impl Answer {
    /// An answer whose body is plain text, in the text that the resource got. Nobody may keep it.
    pub fn text(status: Status) -> Answer {
        Answer {
            status,
            content_type: "text/plain; charset=utf-8",
            fields: "Cache-Control: no-store\r\n",
            fixed: None,
        }
    }

    /// As [`Answer::text`], in JSON.
    pub fn json(status: Status) -> Answer {
        Answer {
            content_type: "application/json",
            ..Answer::text(status)
        }
    }

    /// Returns the body, which is in `text` if it isn't always the same.
    pub fn body<'a>(&self, text: &'a String) -> &'a [u8] {
        match self.fixed {
            Some(fixed) => fixed.as_bytes(),
            None => text.as_bytes(),
        }
    }
}

/// What the head of an answer says beside what its resource says.
#[derive(Clone, Copy, Debug)]
pub struct Head {
    /// The version of the request.
    pub version: Version,
    /// Whether the connection stays open.
    pub keep_alive: bool,
    /// The length of the body; `None` if it goes on for as long as the connection, in chunks if
    /// the version has them.
    pub length: Option<usize>,
    /// What time it is, if that is known.
    pub date: Option<Date>,
}

impl Head {
    /// Appends the head of `answer` to `out`.
    pub fn write(&self, answer: &Answer, out: &mut Vec<u8>) {
        // A vector takes whatever it is given.
        let _always_ok = self.try_write(answer, &mut Bytes(out));
    }

    fn try_write(&self, answer: &Answer, out: &mut Bytes<'_>) -> fmt::Result {
        let status = answer.status;
        write!(out, "HTTP/1.1 {} {}\r\n", status.code(), status.reason())?;
        out.write_str("Server: stillpoint\r\n")?;
        if let Some(date) = self.date {
            write!(out, "Date: {date}\r\n")?;
        }
        if !answer.content_type.is_empty() {
            write!(out, "Content-Type: {}\r\n", answer.content_type)?;
            out.write_str("X-Content-Type-Options: nosniff\r\n")?;
        }
        match (self.length, self.version) {
            // An answer without a content has no length either (RFC 9110, 8.6).
            (Some(_), _) if status == Status::NoContent => {}
            (Some(length), _) => write!(out, "Content-Length: {length}\r\n")?,
            (None, Version::Http11) => out.write_str("Transfer-Encoding: chunked\r\n")?,
            (None, Version::Http10) => {}
        }
        out.write_str(answer.fields)?;
        match (self.keep_alive, self.version) {
            (true, Version::Http11) => {}
            (true, Version::Http10) => out.write_str("Connection: keep-alive\r\n")?,
            (false, _) => out.write_str("Connection: close\r\n")?,
        }
        out.write_str("\r\n")
    }
}

/// Formats into bytes.
struct Bytes<'a>(&'a mut Vec<u8>);

impl fmt::Write for Bytes<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}
