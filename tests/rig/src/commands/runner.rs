//! `runner ELF`: cargo's runner for the target, which boots a kernel and judges it.

use std::ffi::OsString;

use anyhow::Result;

use crate::config::Config;
use crate::tools::script;

pub fn run(config: &Config, arguments: &[OsString]) -> Result<i32> {
    script(config, "runner.sh", arguments)
}
