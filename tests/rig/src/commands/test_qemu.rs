//! `test-qemu`: builds every test kernel and runs each at its sizes.

use std::ffi::OsString;

use anyhow::Result;

use crate::config::Config;
use crate::tools::script;

pub fn run(config: &Config, arguments: &[OsString]) -> Result<i32> {
    script(config, "qemu.sh", arguments)
}
