//! Each forbidden access, and the overflow of each stack, on the boot CPU and on another one. The
//! report describes the fault and names the thread and the functions.
//!
//! A case is called `WHAT@CPU`.

//@ smp: 2
//@ status: 101
//@ cases: write-text@0 write-rodata@0 write-null@0 read-null@0
//@ cases: write-text@1 write-rodata@1 write-null@1 read-null@1
//@ cases: execute-data@0 execute-stack@0 execute-data@1 execute-stack@1
//@ cases: guard-boot@0 guard-thread@0 guard-irq@0 guard-overflow@0 guard-idle@0
//@ cases: guard-boot@1 guard-thread@1 guard-irq@1 guard-overflow@1 guard-idle@1
//@ cases: overflow-thread@0 overflow-irq@0 overflow-idle@0 overflow-report@0
//@ cases: overflow-thread@1 overflow-irq@1 overflow-idle@1
//
//@ case: (write|read|execute|guard)-.*@0
//@ output: ^CPU 0, thread victim/0: synchronous exception$
//@ case: (write|read|execute|guard)-.*@1
//@ output: ^CPU 1, thread victim/1: synchronous exception$
//
//@ case: write-text@.
//@ output: ^  data abort on a write, permission denied, level [23], address 0x[0-9a-f]+ \(code \+0x[0-9a-f]+\)$
//@ output: ^  ESR 0x00000000960000[0-9a-f]{2}  FAR 0x[0-9a-f]{16}  SPSR 0x[0-9a-f]+$
//@ case: write-rodata@.
//@ output: ^  data abort on a write, permission denied, level [23], address 0x[0-9a-f]+ \(read-only data \+0x[0-9a-f]+\)$
//@ case: write-null@.
//@ output: ^  data abort on a write, not mapped, level [0-3], address 0x0$
//@ case: read-null@.
//@ output: ^  data abort on a read, not mapped, level [0-3], address 0x0$
//@ case: execute-data@.
//@ output: ^  instruction abort, permission denied, level [23], address 0x[0-9a-f]+ \(data \+0x[0-9a-f]+\)$
//@ case: execute-stack@.
//@ output: ^  instruction abort, permission denied, level [23], address 0x[0-9a-f]+ \(in stack [0-9]+, that of the running thread\)$
//
//@ case: guard-boot@.|guard-idle@0
//@ output: ^  data abort on a write, not mapped, level 3, address 0x[0-9a-f]+ \(the guard page of the boot stack\)$
//@ case: guard-thread@.
//@ output: ^  data abort on a write, not mapped, level 3, address 0x[0-9a-f]+ \(the guard page of stack [0-9]+, that of the running thread\)$
//@ case: guard-irq@.
//@ output: ^  data abort on a write, not mapped, level 3, address 0x[0-9a-f]+ \(the guard page of stack [0-9]+, that of this CPU's interrupts\)$
//@ case: guard-overflow@.
//@ output: ^  data abort on a write, not mapped, level 3, address 0x[0-9a-f]+ \(the guard page of stack [0-9]+, that of this CPU's fault reports\)$
//@ case: guard-idle@1
//@ output: ^  data abort on a write, not mapped, level 3, address 0x[0-9a-f]+ \(the guard page of stack [0-9]+\)$
//
//@ case: (write|read|execute|guard)-.*
//@ output: ^  SP 0x[0-9a-f]+, the stack of the thread is 0x[0-9a-f]+-0x[0-9a-f]+$
//@ output: ^  x0  [0-9a-f]{16}
//@ output: pc  [0-9a-f]{16}$
//@ case: (write|guard)-.*
//@ output: ^  #0  0x[0-9a-f]{16}  \+0x[0-9a-f]+  qemu_fault::write\+0x[0-9a-f]+$
//@ output: ^  #1  0x[0-9a-f]{16}  \+0x[0-9a-f]+  qemu_fault::do_it\+0x[0-9a-f]+$
//@ case: read-.*
//@ output: ^  #0  0x[0-9a-f]{16}  \+0x[0-9a-f]+  qemu_fault::read\+0x[0-9a-f]+$
//@ case: execute-.*
//@ output: ^  #0  0x[0-9a-f]{16}  \(not code\)$
//@ output: ^  x30 is 0x[0-9a-f]{16}  \+0x[0-9a-f]+  qemu_fault::execute\+0x[0-9a-f]+$
//
//@ case: overflow-(thread|irq)@0
//@ output: ^CPU 0, thread victim/0: synchronous exception$
//@ case: overflow-(thread|irq)@1
//@ output: ^CPU 1, thread victim/1: synchronous exception$
//@ case: overflow-idle@0
//@ output: ^CPU 0, thread idle/0: synchronous exception$
//@ output: ^  data abort on a write, not mapped, level 3, address 0x[0-9a-f]+ \(the guard page of the boot stack\)$
//@ case: overflow-idle@1
//@ output: ^CPU 1, thread idle/1: synchronous exception$
//@ case: overflow-thread@.|overflow-idle@1
//@ output: ^  data abort on a write, not mapped, level 3, address 0x[0-9a-f]+ \(the guard page of stack [0-9]+, that of the running thread\)$
//@ case: overflow-thread@.
//@ output: ^  SP 0x[0-9a-f]+, the stack of the thread is 0x[0-9a-f]+-0x[0-9a-f]+: STACK OVERFLOW in thread victim/[01]$
//@ case: overflow-idle@.
//@ output: ^  SP 0x[0-9a-f]+, the stack of the thread is 0x[0-9a-f]+-0x[0-9a-f]+: STACK OVERFLOW in thread idle/[01]$
//@ case: overflow-irq@.
//@ output: ^  data abort on a write, not mapped, level 3, address 0x[0-9a-f]+ \(the guard page of stack [0-9]+, that of this CPU's interrupts\)$
//@ output: ^  SP 0x[0-9a-f]+, the IRQ stack is 0x[0-9a-f]+-0x[0-9a-f]+: STACK OVERFLOW in thread victim/[01]$
//@ case: overflow-(thread|irq|idle)@.
//@ output: ^  #0  0x[0-9a-f]{16}  \+0x[0-9a-f]+  qemu_fault::deeper\+0x[0-9a-f]+$
//@ output: ^  #9  0x[0-9a-f]{16}  \+0x[0-9a-f]+  qemu_fault::deeper\+0x[0-9a-f]+$
//
// If the report of an overflow overflows too, nothing can be reported.
//@ case: overflow-report@0
//@ halts: 11
//@ output: ^no room for a report of what comes now$

#![no_std]
#![no_main]

extern crate alloc;

stillpoint::entry!(main);

use alloc::format;
use core::arch::asm;
use core::hint::black_box;
use core::mem::offset_of;

use stillpoint::arch::aarch64::cpu_local::this_cpu;
use stillpoint::arch::aarch64::exception::{ExceptionFrame, FRAME_SIZE};
use stillpoint::arch::aarch64::{image, thread_head};
use stillpoint::cpu::CpuId;
use stillpoint::kernel::{TEST_SGI, kernel};
use stillpoint::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use stillpoint::{api, println};

use kernel_support::case::case;
use kernel_support::machine::{eventually, send_sgi};

static CONSTANT: u32 = 0xd65f_03c0;
/// A word that is the instruction `ret`.
static VARIABLE: AtomicU32 = AtomicU32::new(0xd65f_03c0);

#[inline(never)]
fn write(address: usize) {
    // SAFETY: Nothing is written: the page is not writable, and the fault ends
    // the kernel.
    unsafe { asm!("str wzr, [{address}]", address = in(reg) address) };
}

#[inline(never)]
fn read(address: usize) {
    // SAFETY: Nothing is read: nothing is mapped there, and the fault ends the
    // kernel.
    unsafe { asm!("ldr {value:w}, [{address}]", value = out(reg) _, address = in(reg) address) };
}

#[inline(never)]
fn execute(address: usize) {
    // SAFETY: Nothing is executed: the page is not executable, and the fault
    // ends the kernel. If it were, there is a `ret`.
    unsafe { asm!("blr {address}", address = in(reg) address, out("x30") _) };
}

#[inline(never)]
fn deeper(depth: u64) -> u64 {
    let frame = black_box([depth; 32]);
    if depth == u64::MAX {
        return 0;
    }
    deeper(depth + 1) + frame[31]
}

extern "C" fn fall() -> ! {
    panic!("it came back: {}", deeper(0));
}

/// The lowest address of the idle thread's stack; 0 until the handler has interrupted it.
static IDLE_STACK: AtomicUsize = AtomicUsize::new(0);

/// Stores the place of the idle thread's stack, if the idle thread was interrupted.
fn note_idle() {
    let thread = thread_head::current();
    if thread.name().as_str().starts_with("idle/") {
        IDLE_STACK.store(thread.stack().start, Ordering::Relaxed);
    }
}

/// Has the idle thread continue in [`fall`], if the idle thread was interrupted.
fn push_idle() {
    let thread = thread_head::current();
    if !thread.name().as_str().starts_with("idle/") {
        return;
    }
    let mut record: usize;
    // SAFETY: Reads a register.
    unsafe { asm!("mov {record}, x29", record = out(reg) record, options(nomem, nostack)) };
    while !thread.stack().contains(&record) {
        let next = core::ptr::with_exposed_provenance::<usize>(record);
        // SAFETY: Every function keeps a frame record at x29, and the chain
        // leads from the IRQ stack to the frame of the interrupt.
        record = unsafe { next.read_volatile() };
    }
    let frame = record - offset_of!(ExceptionFrame, record);
    let frame = core::ptr::with_exposed_provenance_mut::<ExceptionFrame>(frame);
    // SAFETY: That is where the vector keeps what it goes back to, and nothing
    // else looks at it while this handler runs.
    unsafe { (*frame).elr = (fall as *const ()).addr() as u64 };
    IDLE_STACK.store(thread.stack().start, Ordering::Relaxed);
}

/// Interrupts `cpu`, which has nothing to do, until its idle thread was caught
/// by the handler.
fn catch_idle(cpu: CpuId) {
    let caught = eventually(|| {
        send_sgi(TEST_SGI, cpu);
        IDLE_STACK.load(Ordering::Relaxed) != 0
    });
    assert!(caught, "CPU {cpu} is never idle");
}

fn set_handler(handler: fn()) {
    kernel().test_handler.call_once(|| handler);
}

#[inline(never)]
fn do_it(what: &str, cpu: CpuId) {
    let below = |stack: core::ops::Range<usize>| stack.start - 8;
    match what {
        "write-text" => write((main as *const ()).addr()),
        "write-rodata" => write((&raw const CONSTANT).addr()),
        "write-null" => write(0),
        "read-null" => read(0),
        "execute-data" => execute((&raw const VARIABLE).addr()),
        "execute-stack" => {
            let code = black_box([0xd65f_03c0_u32; 4]);
            execute((&raw const code).addr());
        }
        "guard-boot" => write(image::boot_stack_guard().end - 8),
        "guard-thread" => write(below(thread_head::current().stack())),
        "guard-irq" => write(below(this_cpu().irq_stack())),
        "guard-overflow" => write(below(this_cpu().overflow_stack())),
        "guard-idle" => write(IDLE_STACK.load(Ordering::Relaxed) - 8),
        "overflow-thread" => assert!(deeper(0) == 0, "it came back"),
        "overflow-irq" => {
            set_handler(|| fall());
            send_sgi(TEST_SGI, cpu);
            eventually(|| false);
        }
        "overflow-report" => {
            println!("no room for a report of what comes now");
            let stack = this_cpu().overflow_stack();
            // A frame fits, and Rust's first call does not.
            let small = stack.start..stack.start + FRAME_SIZE + 16;
            // SAFETY: it is a part of this CPU's own, with room for a frame; what
            // comes of the rest is what the case is about.
            unsafe { this_cpu().set_stacks(this_cpu().irq_stack(), small) };
            assert!(deeper(0) == 0, "it came back");
        }
        _ => panic!("no such case"),
    }
    // Keeps the compiler from making the calls above jumps.
    black_box(cpu);
}

fn main() {
    let (what, cpu) = case().split_once('@').expect("WHAT@CPU");
    let number = if cpu == "0" { 0 } else { 1 };
    let [cpu, other] = [number, 1 - number].map(|n| CpuId::new(n).expect("a small number"));
    let spawn = |cpu: CpuId, body: fn(&str, CpuId), on: CpuId| match api::spawn_on(
        on,
        &format!("victim/{on}"),
        move || body(what, cpu),
    ) {
        Ok(thread) => thread.join(),
        Err(error) => panic!("no thread: {error}"),
    };
    // While this thread waits for one on the other CPU, its own CPU is idle.
    match what {
        "guard-idle" => {
            set_handler(note_idle);
            spawn(cpu, |_, cpu| catch_idle(cpu), other);
        }
        "overflow-idle" => {
            set_handler(push_idle);
            spawn(
                cpu,
                |_, cpu| {
                    catch_idle(cpu);
                    eventually(|| false);
                },
                other,
            );
        }
        _ => {}
    }
    spawn(cpu, do_it, cpu);
    panic!("nothing has happened");
}
