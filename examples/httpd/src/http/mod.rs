//! HTTP/1.0 and HTTP/1.1, from bytes to bytes: no sockets, no clocks, no allocation per request.
//!
//! ```text
//!   bytes ─ Scan ─► a head is complete ─ Request::parse ─► Request ─ Body ─► a body is complete
//!             │                            │                          │
//!             └──────────── Refusal: an answer with its status, then the connection closes
//! ```
//!
//! `httparse` reads the head. What it takes and others don't is refused before or after it: line
//! ends that aren't CR LF, two lengths, a length beside a transfer coding, a `Host` too few or too
//! many. So no proxy in front can see other requests than this service does.
//!
//! Sources: RFC 9110 (semantics), RFC 9112 (HTTP/1.1), RFC 3986 (targets).

mod answer;
mod body;
mod date;
mod fields;
mod limits;
mod query;
mod refusal;
mod request;
mod scan;
mod status;

pub use answer::{Answer, Head};
pub use body::{Body, BodyState};
pub use date::Date;
pub use limits::{Limits, MAX_FIELDS};
pub use query::{BadQuery, Query};
pub use refusal::Refusal;
pub use request::{Framing, Method, Request, Version};
pub use scan::{Found, Scan};
pub use status::Status;
