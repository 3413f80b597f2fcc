//! `sdcard IMAGE DIRECTORY`: writes the files for a Raspberry Pi 4's SD card. The user copies
//! them to the first partition (FAT), beside start4.elf and fixup4.dat, the company's own
//! firmware, which isn't in this tree.

use std::ffi::OsString;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::config::Config;
use crate::report::print;
use crate::tools::compile_dts;

const CONFIG_TXT: &str = r#"# Stillpoint on a Raspberry Pi 4.
arm_64bit=1
kernel=kernel8.img
device_tree=bcm2711-rpi-4-b.dtb

# The PL011 on pins 8 and 10 of the header, at 115200 baud; without this line
# Bluetooth has it. The mini UART, on the same pins otherwise, is stdout-path =
# "serial1" in the tree, and needs enable_uart=1 for its clock.
dtoverlay=disable-bt
enable_uart=1
"#;

const CMDLINE_TXT: &str = "init=\"selftest\"\n";

pub fn run(_config: &Config, arguments: &[OsString]) -> Result<i32> {
    let [image, directory] = arguments else {
        bail!("sdcard IMAGE DIRECTORY");
    };
    let directory = Path::new(directory);
    fs::create_dir_all(directory).with_context(|| directory.display().to_string())?;
    let tree = compile_dts(Path::new("dts/bcm2711-rpi-4-b.dts"))?;
    let copy = |from: &Path, name: &str| {
        let copied = fs::copy(from, directory.join(name));
        copied.with_context(|| format!("{} to {name}", from.display()))
    };
    copy(Path::new(image), "kernel8.img")?;
    copy(&tree, "bcm2711-rpi-4-b.dtb")?;
    fs::write(directory.join("config.txt"), CONFIG_TXT)?;
    fs::write(directory.join("cmdline.txt"), CMDLINE_TXT)?;

    print(&format!(
        "In {}, for the first partition of an SD card:\n",
        directory.display()
    ));
    let mut files = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        files.push((entry.file_name(), entry.metadata()?.len()));
    }
    files.sort();
    for (name, size) in files {
        print(&format!("  {size:8}  {}\n", name.display()));
    }
    print(
        "Beside them, from https://github.com/raspberrypi/firmware/tree/master/boot:\n  \
         start4.elf, fixup4.dat, and overlays/disable-bt.dtbo\n",
    );
    Ok(0)
}
