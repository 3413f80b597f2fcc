//! E0277 / E0277: What `main` returns must stand for a status.
#![no_std]
#![no_main]

stillpoint::entry!(main);

fn main() -> &'static str {
    "well done"
}
