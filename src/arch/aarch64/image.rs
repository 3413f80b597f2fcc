//! Where the running Image lies, by the symbols of `linker.ld`.

use core::ops::Range;

use crate::symbols::Symbols;

/// Symbols of the linker script and of `boot.rs`: only their addresses mean
/// something.
mod symbols {
    unsafe extern "C" {
        pub(super) static __image_start: u8;
        pub(super) static __text_end: u8;
        pub(super) static __percpu_start: u8;
        pub(super) static __percpu_end: u8;
        pub(super) static __symbols_start: u8;
        pub(super) static __symbols_end: u8;
        pub(super) static __rodata_end: u8;
        pub(super) static __bss_start: u8;
        pub(super) static __image_end: u8;
        pub(super) static boot_stack_guard: u8;
        pub(super) static boot_stack_bottom: u8;
        pub(super) static boot_stack_top: u8;
        pub(super) static boot_overflow_stack_bottom: u8;
        pub(super) static boot_overflow_stack_top: u8;
    }
}

/// The address of a symbol that is defined in assembly or by the linker script.
macro_rules! address_of {
    ($symbol:ident) => {
        (&raw const symbols::$symbol).addr()
    };
}

/// Returns all of the Image, bss included.
pub fn image() -> Range<usize> {
    address_of!(__image_start)..address_of!(__image_end)
}

/// Returns what the Image's file has in it: what is relocated lies there.
pub fn without_bss() -> Range<usize> {
    address_of!(__image_start)..address_of!(__bss_start)
}

/// Returns what boot zeroes: variables and the first stacks. Whole pages.
pub fn bss() -> Range<usize> {
    address_of!(__bss_start)..address_of!(__image_end)
}

/// Code: read and execute. Whole pages.
pub fn text() -> Range<usize> {
    address_of!(__image_start)..address_of!(__text_end)
}

/// Constants, and what relocation wrote: read only from now on. Whole pages.
pub fn rodata() -> Range<usize> {
    address_of!(__text_end)..address_of!(__rodata_end)
}

/// Variables, zeroed ones included: read and write. Whole pages.
pub fn data() -> Range<usize> {
    address_of!(__rodata_end)..address_of!(__image_end)
}

/// Returns what the per-CPU variables of the program begin as, in [`rodata`]. Whole cache
/// lines.
pub fn per_cpu_template() -> Range<usize> {
    address_of!(__percpu_start)..address_of!(__percpu_end)
}

/// Returns the names of the functions in [`text`]: none if the build didn't fill them in.
pub fn symbols() -> Symbols<'static> {
    let room = address_of!(__symbols_start)..address_of!(__symbols_end);
    let start = core::ptr::with_exposed_provenance::<u8>(room.start);
    // SAFETY: the linker script reserves these bytes in the Image, where they are
    // mapped read only, or not mapped at all yet. What the file has there is not
    // known to the compiler, which sees no definition of the two symbols.
    Symbols::new(unsafe { core::slice::from_raw_parts(start, room.len()) })
}

/// Returns the stack that the boot CPU starts on, in [`data`].
pub fn boot_stack() -> Range<usize> {
    address_of!(boot_stack_bottom)..address_of!(boot_stack_top)
}

/// Returns the page below [`boot_stack`], to be left out of the address map.
pub fn boot_stack_guard() -> Range<usize> {
    address_of!(boot_stack_guard)..address_of!(boot_stack_bottom)
}

/// Returns the stack on which the boot CPU reports faults until it has one of the pool.
pub fn boot_overflow_stack() -> Range<usize> {
    address_of!(boot_overflow_stack_bottom)..address_of!(boot_overflow_stack_top)
}
