//! `nightly [STAGE...]`: what takes too long for the check.

use std::ffi::OsString;

use anyhow::Result;

use crate::config::Config;
use crate::tools::script;

pub fn run(config: &Config, arguments: &[OsString]) -> Result<i32> {
    script(config, "nightly.sh", arguments)
}
