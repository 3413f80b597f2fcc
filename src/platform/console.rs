//! The trait of a serial console.

#![forbid(unsafe_code)]

/// What a serial console has received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// A byte.
    Byte(u8),
    /// Bytes were lost or damaged between the last byte and the next one.
    Lost,
}

/// A serial console. The caller of its methods holds the console's lock, or has broken it.
pub trait Console: Sync {
    /// Sends `byte` if there is room for it within about 10 ms; returns whether there was. It
    /// never waits longer, so that no console can block the kernel. After one failure it
    /// doesn't wait again until there is room.
    fn put(&self, byte: u8) -> bool;

    /// Returns the next input, or `None` if nothing has arrived.
    fn get(&self) -> Option<Received>;

    /// Turns the receive interrupt on or off.
    fn set_receive_interrupt(&self, on: bool);

    /// Acknowledges the receive interrupt at the device.
    fn clear_receive_interrupt(&self);
}
