//! `sdcard IMAGE DIRECTORY`: the files for a Raspberry Pi 4's SD card.

use std::ffi::OsString;

use anyhow::Result;

use crate::config::Config;
use crate::tools::script;

pub fn run(config: &Config, arguments: &[OsString]) -> Result<i32> {
    script(config, "sdcard.sh", arguments)
}
