//! E0277 / E0277: Only guards of the kernel keep a thread on its CPU.
#![no_std]
#![no_main]

use stillpoint::api::sync::KeepsCpu;

stillpoint::entry!(main);

struct Mine;

impl KeepsCpu for Mine {}

fn main() {}
