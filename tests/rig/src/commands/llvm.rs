//! `llvm TOOL ARGUMENT...`: runs a tool of the toolchain's own LLVM.

use std::ffi::OsString;

use anyhow::{Context, Result, bail};

use crate::config::Config;
use crate::process::status;
use crate::tools::llvm;

pub fn run(_config: &Config, arguments: &[OsString]) -> Result<i32> {
    let [tool, arguments @ ..] = arguments else {
        bail!("llvm TOOL ARGUMENT...");
    };
    let tool = tool.to_str().context("no tool of that name")?;
    status(llvm(tool)?.args(arguments))
}
