//! A loader besides QEMU's own. It puts Image and device tree at any address, and enters the
//! Image with any value in x0.

use std::path::Path;
use std::process::Command;

/// The first address of RAM on QEMU's `virt`.
pub const RAM: u64 = 0x4000_0000;

/// The address of the loader's own instructions.
const LOADER_AT: u64 = RAM + 0x800_0000;

/// The instructions MOVZ and MOVK, 64 bits wide, and BR X1 (Arm ARM, C6.2).
const MOVZ: u32 = 0xd280_0000;
const MOVK: u32 = 0xf280_0000;
const BR_X1: u32 = 0xd61f_0020;

/// Has `vm` load the file `file` at the address `at`.
pub fn put(vm: &mut Command, file: &Path, at: u64) {
    let file = file.display();
    vm.arg("-device");
    vm.arg(format!("loader,file={file},addr={at:#x},force-raw=on"));
}

/// Has the first CPU of `vm` jump to `image_at` at its start, with the value `x0` in x0.
pub fn enter(vm: &mut Command, image_at: u64, x0: u64) {
    let words = load(0, x0).into_iter().chain(load(1, image_at));
    for (at, word) in (LOADER_AT..).step_by(4).zip(words.chain([BR_X1])) {
        vm.arg("-device");
        vm.arg(format!("loader,addr={at:#x},data={word:#x},data-len=4"));
    }
    vm.arg("-device");
    vm.arg(format!("loader,addr={LOADER_AT:#x},cpu-num=0"));
}

/// Returns the instructions that put `value` into a register.
fn load(register: u32, value: u64) -> [u32; 4] {
    [0, 1, 2, 3].map(|part: u32| {
        let bits = (value >> (16 * part)) as u32 & 0xffff;
        let instruction = if part == 0 { MOVZ } else { MOVK };
        instruction | part << 21 | bits << 5 | register
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_loaded_in_four_parts() {
        assert_eq!(
            load(1, 0x0001_2345_6789_abcd),
            [0xd295_79a1, 0xf2ac_f121, 0xf2c4_68a1, 0xf2e0_0021]
        );
    }

    #[test]
    fn the_first_instruction_is_where_the_cpu_begins() {
        let mut vm = Command::new("qemu");
        put(&mut vm, Path::new("Image"), RAM);
        enter(&mut vm, RAM, 0);
        let words: Vec<_> = vm.get_args().map(|word| word.to_string_lossy()).collect();
        assert_eq!(words[1], "loader,file=Image,addr=0x40000000,force-raw=on");
        assert_eq!(
            words[3],
            "loader,addr=0x48000000,data=0xd2800000,data-len=4"
        );
        assert_eq!(
            words.last().expect("words"),
            "loader,addr=0x48000000,cpu-num=0"
        );
        assert_eq!(words.len(), 2 * (1 + 9 + 1));
    }
}
