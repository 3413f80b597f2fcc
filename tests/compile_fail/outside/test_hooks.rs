//! E0603 / ok: The hooks by which tests take the place of the kernel are not a program's.
#![no_std]
#![no_main]

stillpoint::entry!(main);

fn main() {
    stillpoint::kernel::kernel().test_handler.call_once(|| || ());
}
