//! E0382: A thread is joined once.

use stillpoint::sched::{SchedHost, JoinHandle};

fn twice<P: SchedHost>(thread: JoinHandle<u32, P>) -> u32 {
    thread.join() + thread.join()
}

fn main() {}
