#![no_std]
#![no_main]

use core::fmt::Write;
use core::time::Duration;

use stillpoint::api::shell::{self, Call, CommandError, ShellCommand};
use stillpoint::api::{Errno, cpu, thread};

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

/// `count up|down`: counts a minute. Ctrl-C ends it, because it looks.
fn count(call: &mut Call<'_>) -> Result<(), CommandError> {
    let up = call.words() != ["down"];
    for second in 0..60 {
        if call.is_interrupted() {
            break;
        }
        let shown = if up { second } else { 60 - second };
        writeln!(call, "{shown}")?;
        thread::sleep(Duration::from_secs(1));
    }
    Ok(())
}

/// `both CPU`: does both, and counts even if there is no such CPU.
fn both(call: &mut Call<'_>) -> Result<(), CommandError> {
    match hello(call) {
        Err(error) if error.errno() == Errno::NoDevice => writeln!(call, "{error}")?,
        greeted => greeted?,
    }
    count(call)
}

/// `commands`: prints a page of a manual.
fn commands(call: &mut Call<'_>) -> Result<(), CommandError> {
    for command in &COMMANDS {
        let (name, usage) = (command.name(), command.usage());
        writeln!(call, "    {name} {usage}\n        {}", command.summary())?;
    }
    Ok(())
}

static COMMANDS: [ShellCommand; 4] = [
    ShellCommand::new("hello", "CPU", "greet a CPU", hello),
    ShellCommand::new("count", "up|down", "count a minute", count).completes(&["up", "down"]),
    ShellCommand::new("both", "CPU", "greet a CPU, then count", both),
    ShellCommand::new("commands", "", "print what this program adds", commands),
];

#[stillpoint::main]
fn main() {
    shell::run(&COMMANDS)
}
