//! Where the line editor draws: on the console, into a copy, or nowhere.
//!
//! `embedded-cli` owns its writer, and the editor has to tell that writer where to draw.
//! So both hold the same [`Screen`]. Only the thread that edits the line touches it.

use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec;
use core::cell::{Cell, RefCell};
use core::convert::Infallible;

use embedded_cli::buffer::Buffer;
use embedded_io::{ErrorType, Write};

use super::machine::Machine;

/// Where drawn text goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// To the console.
    Show,
    /// Into the copy.
    Copy,
    /// Nowhere.
    Discard,
}

/// The place that the editor's drawing goes to.
pub(super) struct Screen<'m, M> {
    machine: &'m M,
    mode: Cell<Mode>,
    /// Whether something was drawn since the last [`Screen::take_drawn`].
    drawn: Cell<bool>,
    /// The text drawn in [`Mode::Copy`] since the last [`Screen::take_copy`].
    copy: RefCell<String>,
}

impl<'m, M: Machine> Screen<'m, M> {
    pub(super) fn new(machine: &'m M) -> Rc<Screen<'m, M>> {
        Rc::new(Screen {
            machine,
            mode: Cell::new(Mode::Show),
            drawn: Cell::new(false),
            copy: RefCell::new(String::new()),
        })
    }

    /// Sets where drawn text goes from now on. Returns where it went before.
    pub(super) fn set_mode(&self, mode: Mode) -> Mode {
        self.mode.replace(mode)
    }

    /// Returns whether something was drawn, in whatever mode, since the last call.
    pub(super) fn take_drawn(&self) -> bool {
        self.drawn.take()
    }

    /// Returns the text drawn in [`Mode::Copy`] since the last call.
    pub(super) fn take_copy(&self) -> String {
        self.copy.take()
    }

    /// Draws `text`.
    pub(super) fn draw(&self, text: &str) {
        self.drawn.set(true);
        match self.mode.get() {
            Mode::Show => self.machine.write(format_args!("{text}")),
            Mode::Copy => self.copy.borrow_mut().push_str(text),
            Mode::Discard => {}
        }
    }
}

/// The writer that the crate draws with.
pub(super) struct ScreenWriter<'m, M>(pub(super) Rc<Screen<'m, M>>);

impl<M> ErrorType for ScreenWriter<'_, M> {
    type Error = Infallible;
}

impl<M: Machine> Write for ScreenWriter<'_, M> {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Infallible> {
        // The crate draws whole strings, so no chunk is invalid.
        for chunk in bytes.utf8_chunks() {
            self.0.draw(chunk.valid());
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}

/// A buffer for the crate, on the heap: kernel stacks are small.
pub(super) struct Bytes(Box<[u8]>);

impl Bytes {
    pub(super) fn new(size: usize) -> Bytes {
        Bytes(vec![0; size].into_boxed_slice())
    }
}

impl Buffer for Bytes {
    fn as_slice(&self) -> &[u8] {
        &self.0
    }

    fn as_slice_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}
