//! The address ranges of the running Image, from the symbols of `linker.ld` and of the
//! boot assembly.

use core::ops::Range;

use crate::patch::Entry;
use crate::symbols::Symbols;

/// Symbols of the linker script and of `boot.rs`. Only their addresses have a meaning.
mod symbols {
    unsafe extern "C" {
        pub(super) static __image_start: u8;
        pub(super) static __text_end: u8;
        pub(super) static __percpu_start: u8;
        pub(super) static __percpu_end: u8;
        pub(super) static __static_keys_start: u8;
        pub(super) static __static_keys_end: u8;
        pub(super) static __text_alias: u8;
        pub(super) static __text_alias_end: u8;
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

/// Expands to the address of a symbol that assembly or the linker script defines.
macro_rules! address_of {
    ($symbol:ident) => {
        (&raw const symbols::$symbol).addr()
    };
}

/// Returns the range of the whole Image, bss included.
pub fn image() -> Range<usize> {
    address_of!(__image_start)..address_of!(__image_end)
}

/// Returns the range of the Image without bss. All words to relocate are in it.
pub fn without_bss() -> Range<usize> {
    address_of!(__image_start)..address_of!(__bss_start)
}

/// Returns the range that boot zeroes: variables and the first stacks. Whole pages.
pub fn bss() -> Range<usize> {
    address_of!(__bss_start)..address_of!(__image_end)
}

/// Returns the range of the code, mapped for reading and execution. Whole pages.
pub fn text() -> Range<usize> {
    address_of!(__image_start)..address_of!(__text_end)
}

/// Returns the range of constants and relocated words, mapped read only. Whole pages.
pub fn rodata() -> Range<usize> {
    address_of!(__text_end)..address_of!(__rodata_end)
}

/// Returns the range of the variables, zeroed ones included, mapped for reading and
/// writing. Whole pages.
pub fn data() -> Range<usize> {
    address_of!(__rodata_end)..address_of!(__image_end)
}

/// Returns the range of the initial values of the program's per-CPU variables, in
/// [`rodata`]. Whole cache lines.
pub fn per_cpu_template() -> Range<usize> {
    address_of!(__percpu_start)..address_of!(__percpu_end)
}

/// Returns the table of the sites of all static keys, in [`rodata`].
pub fn static_keys() -> &'static [Entry] {
    let range = address_of!(__static_keys_start)..address_of!(__static_keys_end);
    let start = core::ptr::with_exposed_provenance::<Entry>(range.start);
    // SAFETY: the linker script puts nothing but whole entries between the two symbols, aligned,
    // where they are mapped read only. Nothing has to be relocated in them.
    unsafe { core::slice::from_raw_parts(start, range.len() / size_of::<Entry>()) }
}

/// Returns the page in [`data`] that the address map must leave out, because text is mapped there
/// while it is written.
pub fn text_alias() -> Range<usize> {
    address_of!(__text_alias)..address_of!(__text_alias_end)
}

/// Returns the names of the functions in [`text`]; there are none if the build didn't add
/// them.
pub fn symbols() -> Symbols<'static> {
    let room = address_of!(__symbols_start)..address_of!(__symbols_end);
    let start = core::ptr::with_exposed_provenance::<u8>(room.start);
    // SAFETY: the linker script reserves these bytes in the Image, where they are
    // mapped read only, or the MMU is still off. The compiler assumes nothing about their
    // content, because it sees no definition of the two symbols.
    Symbols::new(unsafe { core::slice::from_raw_parts(start, room.len()) })
}

/// Returns the range of the stack that the boot CPU starts on, in [`data`].
pub fn boot_stack() -> Range<usize> {
    address_of!(boot_stack_bottom)..address_of!(boot_stack_top)
}

/// Returns the guard page below [`boot_stack`], which the address map must leave out.
pub fn boot_stack_guard() -> Range<usize> {
    address_of!(boot_stack_guard)..address_of!(boot_stack_bottom)
}

/// Returns the range of the stack on which the boot CPU reports faults until it gets one
/// from the pool.
pub fn boot_overflow_stack() -> Range<usize> {
    address_of!(boot_overflow_stack_bottom)..address_of!(boot_overflow_stack_top)
}
