//! `mutants-verdicts`: what `mutants` says of mistakes whose verdict is known.

use std::ffi::OsString;

use anyhow::Result;

use crate::config::Config;
use crate::tools::script;

pub fn run(config: &Config, arguments: &[OsString]) -> Result<i32> {
    script(config, "mutants_verdicts.sh", arguments)
}
