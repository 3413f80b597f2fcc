//! What a client can make grow, and how far.

use core::time::Duration;

/// The most header fields that [`Limits::fields`] can allow.
pub const MAX_FIELDS: usize = 64;

/// The limits of a connection. Each has an answer of its own, which its comment names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the request line: 414.
    pub line: usize,
    /// Bytes of the request line and all header fields, their ends included: 431.
    pub head: usize,
    /// Header fields, [`MAX_FIELDS`] at most: 431.
    pub fields: usize,
    /// Bytes of a body, and of the fields behind a chunked one: 413.
    pub body: usize,
    /// Requests of a connection. The answer to the last one says that the connection closes.
    pub requests: u32,
    /// Requests of a connection in a second; 0 for no limit. A request beyond it waits until it
    /// is its turn, and the client's window closes meanwhile.
    pub rate: u32,
    /// How long a connection may be without a request; then it is closed without an answer.
    pub idle: Duration,
    /// How long a request may take from its first byte to its last: 408.
    pub request: Duration,
    /// How long a client may take to receive an answer; then the connection is closed.
    pub answer: Duration,
}

impl Limits {
    /// What a service has that isn't told otherwise.
    pub const DEFAULT: Limits = Limits {
        line: 2048,
        head: 8192,
        fields: MAX_FIELDS,
        body: 4096,
        requests: 1_000_000,
        rate: 0,
        idle: Duration::from_secs(60),
        request: Duration::from_secs(10),
        answer: Duration::from_secs(30),
    };
}
