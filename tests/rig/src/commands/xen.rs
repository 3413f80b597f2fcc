//! `xen IMAGE`: the Image as a guest of Xen.

use std::ffi::OsString;

use anyhow::Result;

use crate::config::Config;
use crate::tools::script;

pub fn run(config: &Config, arguments: &[OsString]) -> Result<i32> {
    script(config, "rigs/xen.sh", arguments)
}
