//! `matrix IMAGE [all]`: one Image on every machine.

use std::ffi::OsString;

use anyhow::Result;

use crate::config::Config;
use crate::tools::script;

pub fn run(config: &Config, arguments: &[OsString]) -> Result<i32> {
    script(config, "matrix.sh", arguments)
}
