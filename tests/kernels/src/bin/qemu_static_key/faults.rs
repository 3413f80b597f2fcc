//! Accesses that must fault: to text, and to its alias.

use core::arch::asm;

use stillpoint::api;
use stillpoint::arch::aarch64::image;
use stillpoint::arch::aarch64::text::TextAlias;
use stillpoint::kernel::kernel;
use stillpoint::patch::{NOP, Text, write};
use stillpoint::println;

use kernel_support::machine::stay_on_boot_cpu;

use crate::{KEY, is_on, sites};

/// Writes text as the kernel does, and calls `meanwhile_fn` with the site and its place in the
/// alias, after the store.
struct Probe<F> {
    text: TextAlias,
    meanwhile_fn: F,
}

impl<F: FnMut(usize, usize)> Text for Probe<F> {
    fn set_alias(&mut self, page: usize) {
        self.text.set_alias(page);
    }
    fn clear_alias(&mut self) {
        self.text.clear_alias();
    }
    fn drop_translations(&mut self) {
        self.text.drop_translations();
    }
    fn store(&mut self, site: usize, word: u32) {
        self.text.store(site, word);
        (self.meanwhile_fn)(site, in_alias(site));
    }
    fn clean(&mut self, site: usize) {
        self.text.clean(site);
    }
    fn invalidate(&mut self, site: usize) {
        self.text.invalidate(site);
    }
    fn complete(&mut self) {
        self.text.complete();
    }
    fn synchronize(&mut self) {
        self.text.synchronize();
    }
}

/// Returns the place of `site` in the alias.
fn in_alias(site: usize) -> usize {
    image::text_alias().start + site % image::text_alias().len()
}

fn store(address: usize) {
    // SAFETY: nothing is written: the page is not writable, and the fault ends the kernel.
    unsafe { asm!("str {nop:w}, [{address}]", nop = in(reg) NOP, address = in(reg) address) };
}

fn load(address: usize) -> u32 {
    let word: u32;
    // SAFETY: nothing is read: nothing is mapped there, and the fault ends the kernel.
    unsafe { asm!("ldr {word:w}, [{address}]", word = out(reg) word, address = in(reg) address) };
    word
}

fn execute(address: usize) {
    // SAFETY: nothing is executed: the page is not executable, and the fault ends the kernel.
    unsafe { asm!("br {address}", address = in(reg) address) };
}

/// Writes the NOP that is there, and calls `meanwhile_fn`, in a still point.
fn meanwhile(meanwhile_fn: impl FnMut(usize, usize) + Send) {
    let at = sites(&KEY)[0].at;
    let mut probe = Probe {
        text: TextAlias::find(kernel().map()),
        meanwhile_fn,
    };
    let stopped = api::stop_machine(|| write(&mut probe, [(at, NOP)].into_iter()));
    println!("{stopped:?}");
}

pub(crate) fn test(what: &str) {
    // The still point's function runs on this CPU, so that it is this CPU's alias.
    stay_on_boot_cpu();
    let at = sites(&KEY)[0].at;
    let turned = [KEY.enable(), KEY.disable()];
    println!("# {turned:?}, and it is {}", is_on());
    match what {
        "write-site" => store(at),
        "read-alias" => println!("{:#010x}", load(in_alias(at))),
        "write-site-meanwhile" => meanwhile(|site, alias| {
            // The alias can be read, and has the page of the site.
            assert_eq!(load(alias), NOP);
            store(site);
        }),
        "execute-alias" => meanwhile(|_, alias| execute(alias)),
        _ => panic!("no such case"),
    }
}
