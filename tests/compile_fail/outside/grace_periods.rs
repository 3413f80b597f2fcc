//! E0603 / ok: A grace period ends when all readers have left, not before.
#![no_std]
#![no_main]

stillpoint::entry!(main);

fn main() {
    stillpoint::kernel::kernel().grace_periods.interrupt();
    stillpoint::kernel::kernel().grace_periods.arrived();
}
