//! `bad-boot ELF IMAGE MUTE_ELF MUTE_IMAGE`: a loader that gets the device tree wrong.

use std::ffi::OsString;

use anyhow::Result;

use crate::config::Config;
use crate::tools::script;

pub fn run(config: &Config, arguments: &[OsString]) -> Result<i32> {
    script(config, "bad_boot.sh", arguments)
}
