//! The service on the machine: it listens at port 80 of each address, and its connections are tasks
//! of a pool. On the console is the shell.
//!
//! ```text
//!   task `accept` ── a connection ──► task: serve(Socket, Site<Board>)
//!                                       │ waits: the socket's waker, or its alarm
//!                                       ▼
//!                               a worker of the pool, of whatever CPU is there
//! ```
//!
//! Arguments of the program (`-- NAME=NUMBER`): `port`, `connections`, `idle` and `rate`, the limits.
#![cfg_attr(target_os = "none", no_std, no_main)]

extern crate alloc;

mod board;

#[stillpoint::main]
fn main() -> Result<core::convert::Infallible, alloc::string::String> {
    board::run()
}
