//! Makes the flat arm64 Image that boot loaders take from an ELF file.
//!
//! QEMU's -kernel boots an Image as any other loader does. It would enter an ELF file without
//! the device tree in x0.
//!
//! In the Image, the section `.symbols`, which linker.ld reserves, is filled with the names of
//! functions for backtraces. The ELF file isn't changed.

use std::fs;
use std::path::Path;
use std::time::SystemTime;

use anyhow::{Context, Result};
use object::{Object, ObjectSection, ObjectSegment, SectionFlags, elf};

use crate::process::THIS_PROGRAM;
use crate::symbols::{self, Names};
use crate::tools::part_of;

/// Makes `image` from `elf`, unless `image` is newer than `elf` and than this program.
///
/// # Errors
///
/// A file can't be read or written, or `elf` wasn't linked by linker.ld.
pub fn make(elf: &Path, image: &Path) -> Result<()> {
    if is_newer(image, elf) {
        return Ok(());
    }
    make_anew(elf, image)
}

/// Makes `image` from `elf`, even if `image` is newer. Cargo may put an older program in the
/// place of the one that `image` was made from.
///
/// # Errors
///
/// The errors of [`make`].
pub fn make_anew(elf: &Path, image: &Path) -> Result<()> {
    let bytes = fs::read(elf).with_context(|| elf.display().to_string())?;
    let (flat, warning) = flat(&bytes).with_context(|| elf.display().to_string())?;
    if let Some(warning) = warning {
        eprintln!("image: symbols of {}: {warning}", elf.display());
    }
    // The file gets its name only when it is complete, because two runs of the same test
    // kernel may write it at once.
    let part = part_of(image);
    fs::write(&part, flat).with_context(|| part.display().to_string())?;
    fs::rename(&part, image).with_context(|| image.display().to_string())
}

/// Returns whether `image` is newer than `elf` and than this program.
fn is_newer(image: &Path, elf: &Path) -> bool {
    let time = |path: &Path| fs::metadata(path).and_then(|data| data.modified()).ok();
    let program = time(Path::new(THIS_PROGRAM));
    let newest = time(elf).max(program).unwrap_or(SystemTime::UNIX_EPOCH);
    time(image).is_some_and(|image| image > newest)
}

/// Returns the Image of an ELF file, and a warning about its symbols if there is one.
fn flat(bytes: &[u8]) -> Result<(Vec<u8>, Option<String>)> {
    let elf = object::File::parse(bytes)?;
    let room = elf.section_by_name(".symbols");
    let room = room.context("no section .symbols: was it linked by linker.ld?")?;
    let (text, warning) = symbols_for(&elf, room.size());
    let mut image: Vec<u8> = Vec::new();
    let start = lowest(&elf)?;
    for section in elf.sections().filter(is_in_file) {
        let at = usize::try_from(load_address(&elf, &section) - start)?;
        let data = section.data()?;
        if image.len() < at + data.len() {
            image.resize(at + data.len(), 0);
        }
        image[at..at + data.len()].copy_from_slice(data);
        if section.index() == room.index() {
            // A zero byte ends the text.
            image[at..at + data.len()].fill(0);
            image[at..at + text.len()].copy_from_slice(text.as_bytes());
        }
    }
    Ok((image, warning))
}

/// The size of the section in a program without names: it can't be empty.
const NO_ROOM: u64 = 8;

/// Returns the text of the symbols of `elf`, at most `room` bytes of it, and a warning if
/// names had to be left out.
fn symbols_for(elf: &object::File, room: u64) -> (String, Option<String>) {
    if room <= NO_ROOM {
        return (String::new(), None);
    }
    let functions = symbols::functions(elf);
    let all = symbols::text(&functions, Names::All);
    let size = all.len();
    let fits = |text: &str| u64::try_from(text.len()).is_ok_and(|size| size <= room);
    if fits(&all) {
        return (all, None);
    }
    let fewer = [
        (Names::WithoutLibraries, "those of libraries are left out"),
        (Names::Program, "only the program's are there"),
    ];
    let texts = fewer.map(|(names, what)| (symbols::text(&functions, names), what));
    let fitting = texts.into_iter().find(|(text, _)| fits(text));
    let (text, what) = fitting.unwrap_or((String::new(), "there are none"));
    let warning = format!("{size} bytes, room for {room}: {what}");
    (text, Some(warning))
}

/// Returns the load address of the first byte of the Image.
fn lowest(elf: &object::File) -> Result<u64> {
    let sections = elf.sections().filter(is_in_file);
    let lowest = sections.map(|section| load_address(elf, &section)).min();
    lowest.context("nothing in it is loaded")
}

/// Returns whether a section is loaded, and has bytes in the file.
fn is_in_file(section: &object::Section) -> bool {
    let SectionFlags::Elf { sh_flags } = section.flags() else {
        return false;
    };
    sh_flags & u64::from(elf::SHF_ALLOC) != 0
        && section.size() > 0
        && section.file_range().is_some()
}

/// Returns the load address of a section. It is the section's virtual address, because
/// linker.ld gives segments equal virtual and physical addresses.
fn load_address(elf: &object::File, section: &object::Section) -> u64 {
    debug_assert!(
        elf.segments()
            .any(|segment| segment.address() <= section.address())
    );
    section.address()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_elf_is_refused() {
        assert!(flat(b"no ELF").is_err());
    }
}
