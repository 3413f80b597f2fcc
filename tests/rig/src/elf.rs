//! Reads a kernel's ELF file. The kernel is linked at address 0, so an address in the file is
//! an offset in the Image.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use object::read::elf::ElfFile64;
use object::{LittleEndian, Object, ObjectSection, ObjectSymbol};

/// The symbols and sections of an ELF file.
pub struct Elf {
    path: PathBuf,
    bytes: Vec<u8>,
}

impl Elf {
    /// Reads the file `path`.
    ///
    /// # Errors
    ///
    /// The file can't be read.
    pub fn read(path: &Path) -> Result<Elf> {
        let bytes = fs::read(path).with_context(|| path.display().to_string())?;
        Ok(Elf {
            path: path.into(),
            bytes,
        })
    }

    /// Returns the address of the symbol `name`.
    ///
    /// # Errors
    ///
    /// The file has no such symbol.
    pub fn symbol(&self, name: &str) -> Result<u64> {
        self.symbol_where(|other| other == name)?
            .with_context(|| format!("no symbol {name} in {}", self.path.display()))
    }

    /// Returns the address of the first symbol for whose mangled name `is_meant_fn` returns
    /// `true`; `None` if there is none.
    ///
    /// # Errors
    ///
    /// The file is no ELF file.
    pub fn symbol_where(&self, is_meant_fn: impl Fn(&str) -> bool) -> Result<Option<u64>> {
        let file = self.parsed()?;
        let mut symbols = file.symbols().filter(|symbol| !symbol.is_undefined());
        let found = symbols.find(|symbol| symbol.name().is_ok_and(&is_meant_fn));
        Ok(found.map(|symbol| symbol.address()))
    }

    /// Returns the part of the Image that has the section `name`.
    ///
    /// # Errors
    ///
    /// The file has no such section, or `image` is too short to have been made of this file.
    pub fn section_in<'a>(&self, name: &str, image: &'a [u8]) -> Result<&'a [u8]> {
        let file = self.parsed()?;
        let section = file.section_by_name(name);
        let section = section.with_context(|| format!("{} has no {name}", self.path.display()))?;
        let from = usize::try_from(section.address())?;
        let to = from.checked_add(usize::try_from(section.size())?);
        let bytes = to.and_then(|to| image.get(from..to));
        bytes.with_context(|| format!("the Image ends before {name}"))
    }

    /// Returns the size of the section `name`; 0 if the file has none.
    ///
    /// # Errors
    ///
    /// The file is no ELF file.
    pub fn section_size(&self, name: &str) -> Result<u64> {
        let file = self.parsed()?;
        let section = file.section_by_name(name);
        Ok(section.map_or(0, |section| section.size()))
    }

    fn parsed(&self) -> Result<ElfFile64<'_, LittleEndian>> {
        ElfFile64::parse(&*self.bytes).with_context(|| self.path.display().to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_elf_is_an_error() {
        let elf = Elf {
            path: "text".into(),
            bytes: b"text".to_vec(),
        };
        let why = format!("{:#}", elf.symbol("boot_halt").expect_err("an error"));
        assert!(why.starts_with("text: "), "{why}");
    }

    #[test]
    fn a_symbol_has_its_address() {
        // This program is an ELF file too.
        let own = std::env::current_exe().expect("a path");
        let elf = Elf::read(&own).expect("an ELF");
        assert!(elf.symbol("main").is_ok_and(|address| address > 0));
        let why = elf
            .symbol("no_such_symbol")
            .expect_err("an error")
            .to_string();
        assert!(why.starts_with("no symbol no_such_symbol in "), "{why}");
        assert!(elf.section_in(".text", &[]).is_err());
    }
}
