//! `typed IMAGE`: that what is pasted is run as it was typed.

use std::ffi::OsString;

use anyhow::Result;

use crate::config::Config;
use crate::tools::script;

pub fn run(config: &Config, arguments: &[OsString]) -> Result<i32> {
    script(config, "typed.sh", arguments)
}
