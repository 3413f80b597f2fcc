//! The service on a host, with a client, a machine and a time that the tests make up.
#![allow(missing_docs)]

mod connection;
mod metrics;
mod mutants;
mod sockets;
mod support;
#[path = "../../../../tests/support/xorshift.rs"]
mod xorshift;
