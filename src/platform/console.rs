//! A serial console, as the kernel uses it.

#![forbid(unsafe_code)]

/// What a serial console has received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// A byte.
    Byte(u8),
    /// Some bytes were lost or damaged here: the next byte doesn't follow the one
    /// before.
    Lost,
}

/// A serial console. Its caller holds the console lock, or has broken it.
pub trait Console: Sync {
    /// Puts `byte` out if there is room within about `10 ms` by the counter;
    /// returns whether it did. Never waits longer, so that no console can wedge
    /// the kernel; after one failure it doesn't wait again until there is room.
    fn put(&self, byte: u8) -> bool;

    /// Takes what has arrived, if anything has.
    fn get(&self) -> Option<Received>;

    /// Turns the receive interrupt on or off.
    fn set_receive_interrupt(&self, on: bool);

    /// Acknowledges the receive interrupt at the device.
    fn clear_receive_interrupt(&self);
}
