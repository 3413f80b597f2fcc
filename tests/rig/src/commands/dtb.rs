//! `dtb FILE.dts...`: compiles device trees, and prints the path of each blob on a line.

use std::ffi::OsString;
use std::path::Path;

use anyhow::Result;

use crate::config::Config;
use crate::tools::compile_dts;

pub fn run(_config: &Config, arguments: &[OsString]) -> Result<i32> {
    for source in arguments {
        println!("{}", compile_dts(Path::new(source))?.display());
    }
    Ok(0)
}
