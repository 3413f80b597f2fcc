//! The address ranges of the running Image, from the symbols of `linker.ld` and of the
//! boot assembly.

use core::ops::Range;

use crate::arch::assembly::global_asm;
use crate::patch::Entry;
use crate::symbols::Symbols;

/// Symbols of `boot.rs`. Only their addresses have a meaning.
mod symbols {
    unsafe extern "C" {
        pub(super) static boot_stack_guard: u8;
        pub(super) static boot_stack_bottom: u8;
        pub(super) static boot_stack_top: u8;
        pub(super) static boot_overflow_stack_bottom: u8;
        pub(super) static boot_overflow_stack_top: u8;
    }
}

/// Expands to the address of a symbol that assembly defines.
macro_rules! address_of {
    ($symbol:ident) => {
        (&raw const symbols::$symbol).addr()
    };
}

/// Declares [`Place`], and the table `image_places` of the distances to the symbols of the linker
/// script.
///
/// In a program that is linked without the script, all of these symbols would be undefined, and
/// the linker would print twenty errors. So they are weak here and in `boot.rs`, and only one is
/// not. Its name says what to do, and is all that the linker prints.
macro_rules! places {
    ($($(#[$doc:meta])* $place:ident = $symbol:literal,)*) => {
        /// A symbol of the linker script. Only its address has a meaning.
        #[derive(Clone, Copy)]
        enum Place {
            $($(#[$doc])* $place,)*
            /// How many there are.
            Count,
        }

        global_asm!(
            ".pushsection .rodata.image_places, \"a\", %progbits",
            ".balign 8",
            ".global image_places",
            ".hidden image_places",
            ".type image_places, %object",
            "image_places:",
            $(
                concat!(".weak ", $symbol),
                concat!(".xword ", $symbol, " - ."),
            )*
            // The symbol that must be there. It has no place: no code reads the distance.
            ".xword \"add_the_link_argument_-Tlinker.ld_to_.cargo/config.toml\" - .",
            ".size image_places, . - image_places",
            ".popsection",
        );
    };
}

places! {
    ImageStart = "__image_start",
    TextEnd = "__text_end",
    PerCpuStart = "__percpu_start",
    PerCpuEnd = "__percpu_end",
    StaticKeysStart = "__static_keys_start",
    StaticKeysEnd = "__static_keys_end",
    TestsStart = "__tests_start",
    TestsEnd = "__tests_end",
    SymbolsStart = "__symbols_start",
    SymbolsEnd = "__symbols_end",
    RodataEnd = "__rodata_end",
    TextAlias = "__text_alias",
    TextAliasEnd = "__text_alias_end",
    BssStart = "__bss_start",
    ImageEnd = "__image_end",
}

/// How many bytes the linker script reserves for the names of functions. A debug build has more
/// functions. Eight bytes are the least: the section must be there.
const SYMBOLS_ROOM: usize = match (cfg!(feature = "symbols"), cfg!(debug_assertions)) {
    (true, false) => 96 << 10,
    (true, true) => 160 << 10,
    (false, _) => 8,
};

global_asm!(
    ".global stillpoint_symbols_room",
    ".equ stillpoint_symbols_room, {room}",
    room = const SYMBOLS_ROOM,
);

unsafe extern "C" {
    /// For each [`Place`], the distance from the entry itself to the symbol: nothing in the table
    /// is relocated, so it can be read at any time.
    static image_places: [isize; Place::Count as usize];
}

/// Returns the address of `place`.
fn address_of(place: Place) -> usize {
    // SAFETY: the assembly above defines the table, which nothing writes to.
    let entry = unsafe { &image_places[place as usize] };
    (&raw const *entry).addr().wrapping_add_signed(*entry)
}

/// Returns the range of the whole Image, bss included.
pub fn image() -> Range<usize> {
    address_of(Place::ImageStart)..address_of(Place::ImageEnd)
}

/// Returns the range of the Image without bss. All words to relocate are in it.
pub fn without_bss() -> Range<usize> {
    address_of(Place::ImageStart)..address_of(Place::BssStart)
}

/// Returns the range that boot zeroes: variables and the first stacks. Whole pages.
pub fn bss() -> Range<usize> {
    address_of(Place::BssStart)..address_of(Place::ImageEnd)
}

/// Returns the range of the code, mapped for reading and execution. Whole pages.
pub fn text() -> Range<usize> {
    address_of(Place::ImageStart)..address_of(Place::TextEnd)
}

/// Returns the range of constants and relocated words, mapped read only. Whole pages.
pub fn rodata() -> Range<usize> {
    address_of(Place::TextEnd)..address_of(Place::RodataEnd)
}

/// Returns the range of the variables, zeroed ones included, mapped for reading and
/// writing. Whole pages.
pub fn data() -> Range<usize> {
    address_of(Place::RodataEnd)..address_of(Place::ImageEnd)
}

/// Returns the range of the initial values of the program's per-CPU variables, in
/// [`rodata`]. Whole cache lines.
pub fn per_cpu_template() -> Range<usize> {
    address_of(Place::PerCpuStart)..address_of(Place::PerCpuEnd)
}

/// Returns the table of the sites of all static keys, in [`rodata`].
pub fn static_keys() -> &'static [Entry] {
    let range = address_of(Place::StaticKeysStart)..address_of(Place::StaticKeysEnd);
    let start = core::ptr::with_exposed_provenance::<Entry>(range.start);
    // SAFETY: the linker script puts nothing but whole entries between the two symbols, aligned,
    // where they are mapped read only. Nothing has to be relocated in them.
    unsafe { core::slice::from_raw_parts(start, range.len() / size_of::<Entry>()) }
}

/// Returns the range of the table of the program's tests, in [`rodata`].
pub fn program_tests() -> Range<usize> {
    address_of(Place::TestsStart)..address_of(Place::TestsEnd)
}

/// Returns the page in [`data`] that the address map must leave out, because text is mapped there
/// while it is written.
pub fn text_alias() -> Range<usize> {
    address_of(Place::TextAlias)..address_of(Place::TextAliasEnd)
}

/// Returns the names of the functions in [`text`]; there are none if the build didn't add
/// them.
pub fn symbols() -> Symbols<'static> {
    let room = address_of(Place::SymbolsStart)..address_of(Place::SymbolsEnd);
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
