//! `image ELF IMAGE`: makes the flat Image that boots.

use std::ffi::OsString;
use std::path::Path;

use anyhow::{Result, bail};

use crate::config::Config;
use crate::image;

pub fn run(_config: &Config, arguments: &[OsString]) -> Result<i32> {
    let [elf, image] = arguments else {
        bail!("image ELF IMAGE");
    };
    image::make(Path::new(elf), Path::new(image))?;
    Ok(0)
}
