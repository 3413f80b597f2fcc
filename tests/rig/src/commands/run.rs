//! `run [--debug] IMAGE [ELF]`: boots an Image with the console on this terminal.

use std::ffi::OsString;

use anyhow::Result;

use crate::config::Config;
use crate::tools::script;

pub fn run(config: &Config, arguments: &[OsString]) -> Result<i32> {
    script(config, "run.sh", arguments)
}
