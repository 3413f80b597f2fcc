//! QEMU's command line. No other module depends on its options.

pub mod card;

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::config::{Config, or};
use crate::paths::target_dir;
use crate::process::{output_of, succeed};
use crate::tools::{compile_dts, part_of};

/// QEMU for aarch64.
pub const PROGRAM: &str = "qemu-system-aarch64";

/// Returns the command that boots `image` on the machine that `config` describes. The caller
/// adds the options of the serial port. QEMU ends with the exit status that the kernel passes
/// to semihosting.
///
/// # Errors
///
/// `config` describes no machine, or its device tree doesn't compile.
pub fn command(config: &Config, image: &Path) -> Result<Command> {
    check(config)?;
    let mut vm = Command::new(PROGRAM);
    let mut boot_arguments = OsString::from("exit=semihosting");
    let mut dtb = config.dtb.as_str();
    if config.is_rpi4() {
        vm.args(["-M", "raspi4b"]);
        match config.cpus()? {
            4 => {}
            5.. => bail!("a Raspberry Pi 4 has 4 CPUs"),
            cpus => boot_arguments.push(format!(" maxcpus={cpus}")),
        }
        dtb = or(dtb, PI_TREE);
    } else {
        let mut machine = format!("virt,gic-version={}", or(&config.gic, "3"));
        if config.virt == "on" {
            machine.push_str(",virtualization=on");
        }
        if config.secure == "on" {
            machine.push_str(",secure=on");
        }
        vm.args(["-M", &machine, "-cpu", or(&config.cpu, "max")]);
        vm.args(["-smp", or(&config.smp, "4"), "-m", or(&config.mem, "1G")]);
        // No network card, because its boot ROM would need another Debian package.
        vm.args(["-nic", "none"]);
    }
    if !config.init.is_empty() {
        boot_arguments.push(" init=\"");
        boot_arguments.push(in_double_quotes(&config.init)?);
        boot_arguments.push("\"");
    }
    if !config.append.is_empty() {
        boot_arguments.push(" ");
        boot_arguments.push(&config.append);
    }
    vm.args([
        "-display",
        "none",
        "-semihosting-config",
        "enable=on,target=native",
    ]);
    vm.arg("-kernel")
        .arg(image)
        .arg("-append")
        .arg(boot_arguments);
    if config.icount == "1" {
        vm.args([
            "-icount",
            "shift=0,sleep=off",
            "-accel",
            "tcg,thread=single",
        ]);
    } else if config.tcg == "single" {
        vm.args(["-accel", "tcg,thread=single"]);
    } else {
        vm.args(["-accel", "tcg"]);
    }
    if dtb == PI_TREE && !Path::new(dtb).exists() {
        vm.arg("-dtb").arg(pi_tree()?);
    } else if dtb.ends_with(".dts") {
        vm.arg("-dtb").arg(compile_dts(Path::new(dtb))?);
    } else if !dtb.is_empty() {
        vm.args(["-dtb", dtb]);
    }
    vm.args(config.qemu.split_whitespace());
    Ok(vm)
}

/// The device tree of a Raspberry Pi 4, in this tree. QEMU has none for its `raspi4b`.
const PI_TREE: &str = "dts/bcm2711-rpi-4-b.dts";

/// Compiles the tree of a Raspberry Pi 4 outside of this tree, and returns the path of the blob.
fn pi_tree() -> Result<PathBuf> {
    let dir = target_dir().join("dts");
    fs::create_dir_all(&dir).with_context(|| dir.display().to_string())?;
    let source = part_of(&dir.join("bcm2711-rpi-4-b.dts"));
    let text = include_str!("../../../dts/bcm2711-rpi-4-b.dts");
    fs::write(&source, text).with_context(|| source.display().to_string())?;
    let blob = compile_dts(&source);
    fs::remove_file(&source)?;
    blob
}

/// Checks the settings of the machine, so that a misspelt one isn't taken for the default.
fn check(config: &Config) -> Result<()> {
    for (name, value, [one, other]) in [
        ("VIRT", &config.virt, ["on", "off"]),
        ("SECURE", &config.secure, ["on", "off"]),
        ("TCG", &config.tcg, ["single", "multi"]),
        ("BOARD", &config.board, ["virt", "rpi4"]),
        ("ICOUNT", &config.icount, ["1", "0"]),
    ] {
        if !value.is_empty() && value != one && value != other {
            bail!("{} may be {one} or {other}", config.named.of(name));
        }
    }
    Ok(())
}

/// Returns shell commands with their double quotes replaced by single quotes, which the shell
/// accepts too: boot arguments have no escape for a double quote in a quoted value.
fn in_double_quotes(commands: &OsStr) -> Result<OsString> {
    let bytes = commands.as_bytes();
    if bytes.contains(&b'"') && (bytes.contains(&b'\'') || bytes.contains(&b'\\')) {
        bail!("INIT may not mix double quotes with single ones or backslashes");
    }
    let quoted = bytes
        .iter()
        .map(|byte| if *byte == b'"' { b'\'' } else { *byte });
    Ok(OsString::from_vec(quoted.collect()))
}

/// Writes the device tree that QEMU makes for its command `vm` to the file `tree`.
///
/// # Errors
///
/// QEMU can't be started, or refuses the command.
pub fn dump_tree(mut vm: Command, tree: &Path) -> Result<()> {
    vm.args(["-machine", &format!("dumpdtb={}", tree.display())]);
    vm.args(["-serial", "null"]);
    succeed(vm.stdout(Stdio::null()).stderr(Stdio::null()))
}

/// Returns QEMU's version, like `10.0.2`.
///
/// # Errors
///
/// QEMU can't be started, or names no version.
pub fn version() -> Result<String> {
    let text = output_of(Command::new(PROGRAM).arg("--version"))?;
    let text = String::from_utf8_lossy(&text);
    let version = text
        .strip_prefix("QEMU emulator version ")
        .and_then(|rest| rest.split_whitespace().next());
    Ok(version.context("QEMU names no version")?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Named;

    fn words(config: &Config) -> Vec<String> {
        let vm = command(config, Path::new("Image")).expect("a machine");
        vm.get_args()
            .map(|word| word.to_string_lossy().into_owned())
            .collect()
    }

    fn refusal(config: &Config) -> String {
        command(config, Path::new("Image"))
            .expect_err("no machine")
            .to_string()
    }

    #[test]
    fn a_machine_is_a_virt_of_four_cpus_unless_told() {
        assert_eq!(
            words(&Config::default()).join(" "),
            "-M virt,gic-version=3 -cpu max -smp 4 -m 1G -nic none -display none \
             -semihosting-config enable=on,target=native -kernel Image \
             -append exit=semihosting -accel tcg"
        );
    }

    #[test]
    fn each_variable_has_its_place() {
        let config = Config {
            smp: "8".into(),
            mem: "64M".into(),
            cpu: "cortex-a72".into(),
            gic: "2".into(),
            virt: "on".into(),
            secure: "on".into(),
            icount: "1".into(),
            dtb: "odd.dtb".into(),
            init: "echo \"two words\"; poweroff".into(),
            append: "loglevel=7".into(),
            qemu: " -device  edu ".into(),
            ..Config::default()
        };
        let words = words(&config);
        assert_eq!(words[1], "virt,gic-version=2,virtualization=on,secure=on");
        assert_eq!(
            words[2..8],
            ["-cpu", "cortex-a72", "-smp", "8", "-m", "64M"]
        );
        let arguments = "exit=semihosting init=\"echo 'two words'; poweroff\" loglevel=7";
        assert!(words.contains(&arguments.to_owned()), "{words:?}");
        assert_eq!(
            words[words.len() - 8..].join(" "),
            "-icount shift=0,sleep=off -accel tcg,thread=single -dtb odd.dtb -device edu"
        );
    }

    #[test]
    fn a_pi_has_what_it_has() {
        let pi = |smp: &str| Config {
            board: "rpi4".into(),
            smp: smp.into(),
            dtb: "odd.dtb".into(),
            cpu: "cortex-a53".into(),
            ..Config::default()
        };
        assert_eq!(words(&pi("4"))[..4], ["-M", "raspi4b", "-display", "none"]);
        assert!(words(&pi("2")).contains(&"exit=semihosting maxcpus=2".to_owned()));
        assert_eq!(refusal(&pi("5")), "a Raspberry Pi 4 has 4 CPUs");
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        let with = |set: fn(&mut Config)| {
            let mut config = Config::default();
            set(&mut config);
            refusal(&config)
        };
        assert_eq!(with(|c| c.virt = "yes".into()), "VIRT may be on or off");
        assert_eq!(with(|c| c.secure = "on ".into()), "SECURE may be on or off");
        assert_eq!(with(|c| c.tcg = "1".into()), "TCG may be single or multi");
        assert_eq!(with(|c| c.board = "pi".into()), "BOARD may be virt or rpi4");
        for wrong in ["on", "2", "01"] {
            let config = Config {
                icount: wrong.into(),
                ..Config::default()
            };
            assert_eq!(refusal(&config), "ICOUNT may be 1 or 0");
        }
        let named = |config: &mut Config| {
            config.virt = "x".into();
            config.named = Named(vec![("VIRT".into(), "--virt".into())]);
        };
        assert_eq!(with(named), "--virt may be on or off");
        let mixed = "INIT may not mix double quotes with single ones or backslashes";
        assert_eq!(with(|c| c.init = "echo \"it's\"".into()), mixed);
        assert_eq!(with(|c| c.init = "echo \"a\\\"".into()), mixed);
    }
}
