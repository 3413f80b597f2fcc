//! E0603 / ok: A thread says for itself that it is about to wait.
#![no_std]
#![no_main]

stillpoint::entry!(main);

fn main() {
    let thread = stillpoint::api::thread::spawn(|| ());
    stillpoint::kernel::kernel().sched.about_to_block(thread.thread().inner());
}
