//! `uboot IMAGE [all]`: the Image as U-Boot's `booti` starts it.

use std::ffi::OsString;

use anyhow::Result;

use crate::config::Config;
use crate::tools::script;

pub fn run(config: &Config, arguments: &[OsString]) -> Result<i32> {
    script(config, "uboot.sh", arguments)
}
