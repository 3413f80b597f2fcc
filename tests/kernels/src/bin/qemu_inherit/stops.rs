//! The mutex of stops.

use stillpoint::api;
use stillpoint::cpu::CpuId;
use stillpoint::kernel::{Hw, kernel};
use stillpoint::platform::Platform;

use crate::scene::{
    Coming, HELD, Middle, Stage, as_boss, compute, elsewhere, fifo, is_soon, on, start,
};
use kernel_support::ktap::Ktap;

pub(crate) fn stops(ktap: &mut Ktap) {
    let coming = Coming::start();
    let soon = as_boss(|| {
        let holds = Stage::new();
        let says = holds.clone();
        let low = start(on(CpuId::BOOT).name("low"), move || {
            let held = kernel().stop_machine.lock();
            says.say();
            compute(HELD, &Stage::new());
            drop(held);
        });
        holds.wait();
        let middle = Middle::start();
        let high = start(on(elsewhere()).name("high").class(fifo(60)), || {
            let began = Hw::now();
            api::stop_machine(|| ()).is_ok() && is_soon("stop", began)
        });
        let soon = high.join();
        middle.end();
        low.join();
        soon
    });
    ktap.check(
        "an urgent stop waits as long as the mutex of stops is held",
        soon,
    );
    ktap.check("CPUs came and went meanwhile", coming.end());
}
