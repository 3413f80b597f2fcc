//! The names of a kernel's functions, which its Image has for backtraces. src/symbols.rs
//! describes the format of the text.

use object::{Object, ObjectSection, ObjectSymbol, SectionKind, SymbolKind, SymbolSection};

/// The longest name, in bytes.
const LONGEST: usize = 90;

/// A function: its offset in the Image, and its name.
type Function = (u64, String);

/// Returns the functions of `elf`, sorted by address, with readable names. If an address has
/// several names, the first is used.
#[must_use]
pub fn functions(elf: &object::File) -> Vec<Function> {
    let mut all: Vec<(u64, &str)> = elf
        .symbols()
        .filter_map(|symbol| function(elf, &symbol))
        .collect();
    all.sort_unstable();
    all.dedup_by_key(|(address, _)| *address);
    all.into_iter()
        .map(|(address, name)| (address, readable(name)))
        .collect()
}

/// Returns the address and the name of a symbol if it marks code.
fn function<'data>(
    elf: &object::File<'data>,
    symbol: &object::Symbol<'data, '_>,
) -> Option<(u64, &'data str)> {
    let SymbolSection::Section(section) = symbol.section() else {
        return None;
    };
    if matches!(symbol.kind(), SymbolKind::Section | SymbolKind::File) {
        return None;
    }
    if elf.section_by_index(section).ok()?.kind() != SectionKind::Text {
        return None;
    }
    let name = symbol.name().ok()?;
    // Names that begin with a dollar sign mark code and data for disassemblers.
    (!name.is_empty() && !name.starts_with('$')).then_some((symbol.address(), name))
}

/// Returns the readable form of a name: demangled, without the compiler's hash, without the
/// quotes of lifetimes, and at most [`LONGEST`] bytes long.
fn readable(name: &str) -> String {
    let mut name = match rustc_demangle::try_demangle(name) {
        Ok(demangled) => format!("{demangled:#}").replace('\'', ""),
        Err(_) => name.to_owned(),
    };
    let mut end = LONGEST.min(name.len());
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    name.truncate(end);
    name
}

/// The functions whose names are in a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Names {
    /// Those of all functions.
    All,
    /// Those of the kernel and the program.
    WithoutLibraries,
    /// Those of the program alone, and of assembly.
    Program,
}

/// Returns the text of `functions`: a line for each. A function whose name isn't among `names`
/// has a line without a name, or it would look like a part of the function before it.
#[must_use]
pub fn text(functions: &[Function], names: Names) -> String {
    let mut text = String::new();
    let mut nameless = false;
    for (address, name) in functions {
        if names == Names::All || is_of(name, names) {
            text.push_str(&format!("{address:x} {name}\n"));
            nameless = false;
        } else {
            if !nameless {
                text.push_str(&format!("{address:x}\n"));
            }
            nameless = true;
        }
    }
    text
}

/// The kernel's crate.
const KERNEL: &str = "stillpoint";

/// The crates whose functions are left out first: Rust's own and those that the kernel is built
/// with. The rest are the kernel's and the program's.
const LIBRARIES: &[&str] = &[
    "aarch64_cpu",
    "aarch64_paging",
    "alloc",
    "allocator_api2",
    "arm_gic",
    "arm_pl011_uart",
    "bitflags",
    "compiler_builtins",
    "core",
    "embedded_io",
    "fdt",
    "intrusive_collections",
    "lock_api",
    "log",
    "safe_mmio",
    "smccc",
    "spin",
    "talc",
    "tock_registers",
    "unicode_width",
    "zerocopy",
];

/// Returns whether the name of a function is among `names`: a path in it begins with a crate
/// that isn't left out. The names of assembly have no path.
fn is_of(name: &str, names: Names) -> bool {
    let in_path = |char: char| char.is_alphanumeric() || "_:".contains(char);
    let paths = name.split(|char| !in_path(char));
    // What stands behind a closing bracket begins with `::`.
    let crates = paths.filter_map(|path| path.split_once("::").map(|(first, _)| first));
    let mut crates = crates.filter(|first| !first.is_empty() && !LIBRARIES.contains(first));
    crates.any(|first| names != Names::Program || first != KERNEL) || !name.contains("::")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_what_a_person_looks_for() {
        for (mangled, name) in [
            ("vector_table", "vector_table"),
            (
                "_ZN10stillpoint5sched4idle17h0123456789abcdefE",
                "stillpoint::sched::idle",
            ),
            (
                "_ZN52_$LT$stillpoint..Out$u20$as$u20$core..fmt..Write$GT$9write_str17h0123456789abcdefE",
                "<stillpoint::Out as core::fmt::Write>::write_str",
            ),
            ("_RNvCs1234_7mycrate3foo", "mycrate::foo"),
        ] {
            assert_eq!(readable(mangled), name);
        }
        assert_eq!(readable(&"x".repeat(200)).len(), LONGEST);
    }

    #[test]
    fn nameless_functions_in_a_row_are_one_line() {
        let functions: Vec<Function> = [
            (0x10, "stillpoint::idle"),
            (0x20, "core::fmt::write"),
            (0x30, "alloc::vec"),
            (0x40, "memcpy"),
            (0x50, "core::str::x"),
            (0x60, "<core::option::Option<T> as core::fmt::Debug>::fmt"),
            (0x70, "core::ptr::drop_in_place<mine::Queue>"),
            (0x80, "mine::main::{{closure}}"),
        ]
        .map(|(address, name)| (address, name.to_owned()))
        .into();
        assert_eq!(
            text(&functions, Names::WithoutLibraries),
            "10 stillpoint::idle\n20\n40 memcpy\n50\n\
             70 core::ptr::drop_in_place<mine::Queue>\n80 mine::main::{{closure}}\n"
        );
        assert_eq!(
            text(&functions, Names::Program),
            "10\n40 memcpy\n50\n70 core::ptr::drop_in_place<mine::Queue>\n\
             80 mine::main::{{closure}}\n"
        );
        assert!(text(&functions, Names::All).contains("20 core::fmt::write\n"));
    }
}
