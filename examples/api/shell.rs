#![no_std]
#![no_main]

use core::fmt::Write;

use stillpoint::api::shell::{self, Call, CommandError, ShellCommand};
use stillpoint::api::{Errno, cpu};

/// `hello CPU`: greets a CPU.
fn hello(call: &mut Call<'_>) -> Result<(), CommandError> {
    let [word] = call.words() else {
        return Err(CommandError::new(Errno::Invalid, "one CPU is greeted"));
    };
    let number = word.parse().map_err(|_| Errno::Invalid)?;
    let there = cpu::CpuId::new(number).filter(|cpu| cpu::possible().contains(*cpu));
    let Some(cpu) = there else {
        return Err(CommandError::new(Errno::NoDevice, "no such CPU"));
    };
    writeln!(call, "Hello, CPU {cpu}.")?;
    Ok(())
}

static COMMANDS: [ShellCommand; 1] = [ShellCommand::new("hello", "CPU", "greet a CPU", hello)];

#[stillpoint::main]
fn main() {
    shell::run(&COMMANDS)
}
