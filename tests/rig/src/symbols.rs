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

/// Returns the text of `functions`: a line for each.
#[must_use]
pub fn text(functions: &[Function]) -> String {
    functions
        .iter()
        .map(|(address, name)| format!("{address:x} {name}\n"))
        .collect()
}

/// Returns the text of `functions` without the names of libraries' functions, which are the
/// least useful. Such a function keeps a line without a name, or it would look like a part of
/// the function before it.
#[must_use]
pub fn text_without_libraries(functions: &[Function]) -> String {
    let mut text = String::new();
    let mut nameless = false;
    for (address, name) in functions {
        if is_ours(name) {
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

/// Returns whether a function is this kernel's own. The names of assembly have no path.
fn is_ours(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    ["stillpoint", "kernel_support", "qemu_"]
        .iter()
        .any(|own| name.contains(own))
        || name.bytes().all(plain)
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
        ]
        .map(|(address, name)| (address, name.to_owned()))
        .into();
        assert_eq!(
            text_without_libraries(&functions),
            "10 stillpoint::idle\n20\n40 memcpy\n50\n"
        );
        assert!(text(&functions).contains("20 core::fmt::write\n"));
    }
}
