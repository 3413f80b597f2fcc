use stillpoint::api::cpu::{
    CallError, CpuId, CpuMask, call_on, call_on_many, call_on_nowait, on_each_cpu,
};
use stillpoint::println;

/// A register of which each CPU has its own: only code on a CPU gets at that CPU's.
pub(crate) trait Register: Sync {
    fn read(&self) -> u64;
    fn write(&self, value: u64);
}

/// Reads the register of `cpu`, which may just go offline.
pub(crate) fn read_on(register: &impl Register, cpu: CpuId) -> Option<u64> {
    match call_on(cpu, || register.read()) {
        Ok(value) => Some(value),
        Err(CallError::Offline(cpu)) => {
            println!("CPU{cpu} has no value now");
            None
        }
    }
}

/// Writes it on all CPUs. When this returns, none has the old value.
pub(crate) fn write_everywhere(register: &impl Register, value: u64) {
    let written = on_each_cpu(|_cpu| register.write(value));
    println!("CPUs {written} have {value}");
}

/// Writes it on those of `cpus` that are online, and returns the others.
pub(crate) fn write_on(register: &impl Register, cpus: &CpuMask, value: u64) -> CpuMask {
    let written = call_on_many(cpus, |_cpu| register.write(value));
    cpus.without(&written)
}

/// Has `cpu` write it. This waits for no other CPU, so an interrupt handler may do it.
pub(crate) fn write_soon(
    register: &'static impl Register,
    cpu: CpuId,
    value: u64,
) -> Result<(), CallError> {
    call_on_nowait(cpu, move || register.write(value))
}
