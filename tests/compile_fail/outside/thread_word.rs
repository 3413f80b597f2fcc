//! E0603 / E0133: The scheduler takes the word of a thread for a pointer.
#![no_std]
#![no_main]

stillpoint::entry!(main);

fn main() {
    stillpoint::arch::aarch64::thread_head::current().set_word(64);
}
