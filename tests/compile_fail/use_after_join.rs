//! E0382: A thread is joined once.

use stillpoint::sched::{Host, JoinHandle};

fn twice<P: Host>(thread: JoinHandle<u32, P>) -> u32 {
    thread.join() + thread.join()
}

fn main() {}
