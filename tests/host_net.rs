//! The network's stack over simulated links: what a program writes at one end is what another reads
//! at the other end, whatever the link does to the frames; and what a peer does has its limits.

#![cfg(not(loom))]

#[path = "host_net/cable.rs"]
mod cable;
#[path = "host_net/floods.rs"]
mod floods;
#[path = "host_net/streams.rs"]
mod streams;
#[path = "support/xorshift.rs"]
mod xorshift;
