//! U-Boot's prompt, at which `booti` starts an Image.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::loader::put;
use crate::session::Session;

/// The address of the Image before `booti` moves it.
const IMAGE_AT: u64 = 0x4800_0000;

/// How long U-Boot may take for its next output.
const ANSWERS: Duration = Duration::from_secs(30);

/// Runs `vm`, a machine with U-Boot as its firmware, and has `booti` start `image` with U-Boot's
/// own copy of the device tree and with these boot arguments. QEMU's loader puts the Image into
/// memory. The console is QEMU's standard input and output. Its output goes to `log`, and is
/// returned.
///
/// # Errors
///
/// The machine doesn't end with status 0 within `limit`, or U-Boot has no prompt.
pub fn boot_by_uboot(
    mut vm: Command,
    image: &Path,
    arguments: &str,
    log: &Path,
    limit: Duration,
) -> Result<String> {
    put(&mut vm, image, IMAGE_AT);
    vm.args(["-serial", "stdio"]);
    let deadline = Instant::now() + limit;
    let mut session = Session::start(&mut vm, log, false)?;
    expect(&mut session, "Hit any key to stop autoboot:").context("U-Boot does not start")?;
    session.type_in("\n")?;
    // The key stops the countdown, and U-Boot shows its prompt.
    expect(&mut session, "=> ").context("U-Boot has no prompt")?;
    session.type_in(&format!("setenv bootargs '{arguments}'\n"))?;
    expect(&mut session, "=> ").context("U-Boot takes no variable")?;
    session.type_in(&format!("booti {IMAGE_AT:#x} - ${{fdtcontroladdr}}\n"))?;
    session.finish(deadline)?.is(0, limit)?;
    Ok(session.printed())
}

fn expect(session: &mut Session, text: &str) -> Result<()> {
    session.expect(text, Instant::now() + ANSWERS)
}
