//! Why a request isn't understood. The connection ends after each of these, because where the
//! next request begins is not certain.

use core::fmt;

use crate::http::Status;

/// What is wrong with the bytes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// A LF without a CR before it.
    BareLf,
    /// A CR without a LF behind it.
    BareCr,
    /// A byte NUL.
    Nul,
    /// A field that goes on in the next line (`obs-fold`, RFC 9112, 5.2).
    Folded,
    /// More than one empty line before a request.
    EmptyLines,
    /// No method, target and version with one space between.
    RequestLine,
    /// The target isn't one that a server gets, or has a wrong escape.
    Target,
    /// A field's name or value isn't one.
    Field,
    /// HTTP/1.1 without one field `Host`, or any version with two or with a wrong one.
    Host,
    /// `Content-Length` that isn't one number.
    ContentLength,
    /// Both `Content-Length` and `Transfer-Encoding`, or the latter in HTTP/1.0.
    Framing,
    /// `Transfer-Encoding` whose last coding isn't `chunked`.
    TransferEncoding,
    /// A chunk without a size, or without an end.
    Chunk,
    /// The request line is above [`Limits::line`](crate::http::Limits::line).
    LineTooLong,
    /// The head is above [`Limits::head`](crate::http::Limits::head) or
    /// [`Limits::fields`](crate::http::Limits::fields).
    HeadTooLarge,
    /// The body is above [`Limits::body`](crate::http::Limits::body).
    BodyTooLarge,
    /// A version of HTTP other than 1.0 and 1.1.
    Version,
    /// A transfer coding other than `chunked`.
    Coding,
    /// `Expect` with something other than `100-continue`.
    Expectation,
    /// The request was not complete in time.
    Slow,
}

impl Refusal {
    /// Returns the status of the answer.
    pub fn status(self) -> Status {
        match self {
            Self::LineTooLong => Status::UriTooLong,
            Self::HeadTooLarge => Status::HeadTooLarge,
            Self::BodyTooLarge => Status::ContentTooLarge,
            Self::Version => Status::VersionNotSupported,
            Self::Coding => Status::NotImplemented,
            Self::Expectation => Status::ExpectationFailed,
            Self::Slow => Status::RequestTimeout,
            _ => Status::BadRequest,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BareLf => "a LF without a CR before it",
            Self::BareCr => "a CR without a LF behind it",
            Self::Nul => "a byte NUL",
            Self::Folded => "a folded header field",
            Self::EmptyLines => "empty lines before the request",
            Self::RequestLine => "not a request line",
            Self::Target => "not a request target",
            Self::Field => "not a header field",
            Self::Host => "not one field Host",
            Self::ContentLength => "not one Content-Length",
            Self::Framing => "a length and a transfer coding",
            Self::TransferEncoding => "chunked is not the last transfer coding",
            Self::Chunk => "not a chunk",
            Self::LineTooLong => "the request line is too long",
            Self::HeadTooLarge => "the header fields are too large",
            Self::BodyTooLarge => "the body is too large",
            Self::Version => "only HTTP/1.0 and HTTP/1.1 are spoken here",
            Self::Coding => "a transfer coding that is unknown here",
            Self::Expectation => "an expectation that is unknown here",
            Self::Slow => "the request was not complete in time",
        })
    }
}
