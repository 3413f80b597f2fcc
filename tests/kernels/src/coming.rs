//! CPUs that come and go all the time.

use alloc::sync::Arc;
use core::time::Duration;

use stillpoint::api::thread::{self, Builder, Class, JoinHandle, Priority};
use stillpoint::api::{self};
use stillpoint::sync::atomic::{AtomicBool, Ordering};

use crate::machine::secondaries;

/// How long it rests between two walks: two slices and a half, because threads are balanced
/// when a slice ends.
const REST: Duration = Duration::from_millis(10);

/// A thread that takes each CPU but the boot CPU down and brings it up again, one after the
/// other, until it is told to end. On a machine of one CPU it only rests.
pub struct Coming {
    end: Arc<AtomicBool>,
    thread: JoinHandle<Option<u32>>,
}

impl Coming {
    /// Starts the thread. It is urgent, so that threads that compute don't keep it from its
    /// CPU.
    ///
    /// # Panics
    /// If no stack is free.
    #[must_use]
    pub fn start() -> Coming {
        let end = Arc::new(AtomicBool::new(false));
        let its_end = Arc::clone(&end);
        let class = Class::fifo(Priority::new(98).expect("1 to 99"));
        let builder = Builder::new().name("coming").class(class);
        let thread = builder.spawn(move || {
            let mut walks = 0;
            while !its_end.load(Ordering::Relaxed) {
                for cpu in secondaries() {
                    api::cpu_down(cpu).ok()?;
                    thread::sleep(REST);
                    api::cpu_up(cpu).ok()?;
                    thread::sleep(REST);
                    walks += 2;
                }
                if walks == 0 {
                    thread::sleep(REST);
                }
            }
            Some(walks)
        });
        Coming {
            end,
            thread: thread.expect("a stack is free"),
        }
    }

    /// Ends it, with all CPUs up. Returns how many walks it has made, or `None` if one has
    /// failed.
    #[must_use]
    pub fn end(self) -> Option<u32> {
        self.end.store(true, Ordering::Relaxed);
        self.thread.join()
    }
}
