//! `parked ELF IMAGE`: what a parked CPU does, seen from outside.

use std::ffi::OsString;

use anyhow::Result;

use crate::config::Config;
use crate::tools::script;

pub fn run(config: &Config, arguments: &[OsString]) -> Result<i32> {
    script(config, "parked.sh", arguments)
}
