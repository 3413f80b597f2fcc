//! The external tools that the rig calls: LLVM's and the device tree compiler.

use std::path::{Path, PathBuf};
use std::process::{self, Command};

use anyhow::{Context, Result, bail};

use crate::paths::target_dir;
use crate::process::{output_of, succeed};

/// Returns what the compiler says if it is called with `arguments`.
fn rustc(arguments: &[&str]) -> Result<String> {
    let output = output_of(Command::new("rustc").args(arguments))?;
    String::from_utf8(output).context("what rustc says")
}

/// Returns the target triple of this host.
///
/// # Errors
///
/// The compiler doesn't name it.
pub fn host() -> Result<String> {
    let version = rustc(&["-vV"])?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc -vV names no host")?.to_owned())
}

/// Returns the command for a tool of the toolchain's own LLVM. The system's binutils need
/// not know aarch64; rustup's `llvm-tools` do, and rust-toolchain.toml asks for them.
///
/// # Errors
///
/// The compiler doesn't print its path.
pub fn llvm(tool: &str) -> Result<Command> {
    let root = rustc(&["--print", "sysroot"])?;
    let bin = Path::new(root.trim_end())
        .join("lib/rustlib")
        .join(host()?)
        .join("bin");
    Ok(Command::new(bin.join(format!("llvm-{tool}"))))
}

/// Compiles a device tree, and returns the path of the blob, in `target/dts`.
///
/// # Errors
///
/// The compiler can't be started, or refuses the source.
pub fn compile_dts(source: &Path) -> Result<PathBuf> {
    let out = target_dir().join("dts");
    std::fs::create_dir_all(&out).with_context(|| out.display().to_string())?;
    let Some(name) = source.file_stem() else {
        bail!("{} is no file", source.display());
    };
    let blob = out.join(name).with_extension("dtb");
    // The file gets its name only when it is complete, because several runs may write it at
    // once.
    let part = part_of(&blob);
    let mut dtc = Command::new("dtc");
    dtc.args(["-q", "-i", "dts", "-I", "dts", "-O", "dtb", "-o"]);
    succeed(dtc.arg(&part).arg(source))?;
    std::fs::rename(&part, &blob).with_context(|| blob.display().to_string())?;
    Ok(blob)
}

/// Compiles the text of a device tree into the file `blob`, even if the compiler finds
/// mistakes in it.
///
/// # Errors
///
/// The compiler can't be started, or can't read the text at all.
pub fn compile_forced(source: &[u8], blob: &Path) -> Result<()> {
    let text = blob.with_extension("dts");
    std::fs::write(&text, source).with_context(|| text.display().to_string())?;
    let mut dtc = Command::new("dtc");
    dtc.args([
        "-q", "-q", "-f", "-i", "dts", "-I", "dts", "-O", "dtb", "-o",
    ]);
    succeed(dtc.arg(blob).arg(&text))
}

/// Returns a path beside `path` for an unfinished file. No other process or thread uses it.
#[must_use]
pub fn part_of(path: &Path) -> PathBuf {
    use std::sync::atomic::{AtomicU32, Ordering};
    // Relaxed: the number only has to be unique.
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}-{number}", process::id()));
    name.into()
}

/// Returns whether QEMU has a Raspberry Pi 4, which comes with version 9.
///
/// # Errors
///
/// QEMU can't be started.
pub fn qemu_has_rpi4() -> Result<bool> {
    let machines = output_of(Command::new(crate::qemu::PROGRAM).args(["-M", "help"]))?;
    let machines = String::from_utf8_lossy(&machines);
    Ok(machines.lines().any(|line| line.starts_with("raspi4b ")))
}
