//! CPUs whose caches are off: how a CPU is parked and released ([`pen`]), and how the
//! boot CPU comes to its caches ([`boot`]), as sequences: those of Rust are generic
//! functions ([`words`]), those of assembly are lists of steps ([`steps`]).

#![forbid(unsafe_code)]

pub mod boot;
pub mod life;
pub mod pen;
pub mod steps;
pub mod words;
