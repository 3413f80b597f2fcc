//! Interrupts of devices: requested and given back, disabled and enabled, moved while they are
//! pending or served. None is lost and none comes twice, whatever CPUs come and go. The devices
//! are software, which raises lines that no device is at, and the clock of the machine.

//@ smp: 1 2 4 20
//@ timeout: 240
//@ output: warning: unbalanced enable of Spi
//@ output: error: irq [0-9]+: nobody cared
//@ output: warning: CPU[0-9]+: unexpected Spi

#![no_std]
#![no_main]

extern crate alloc;

mod lines;
mod private;
mod storm;
mod threads;
mod users;

stillpoint::entry!(main);

use kernel_support::ktap::Ktap;
use kernel_support::memory::InUse;

fn main() {
    let mut ktap = Ktap::new();
    // A line's record is made when it is first asked for, and stays.
    lines::touch();
    private::touch();
    let used = InUse::settled();
    ktap.check(
        "a handler runs once for each time its line is raised",
        users::raised(),
    );
    ktap.check("what can't be given is refused by name", users::refused());
    ktap.check("a disabled line keeps what comes", users::disabled());
    ktap.check("users share a line", users::shared());
    ktap.check(
        "a handler has gone when its handle is dropped",
        users::dropped(),
    );
    ktap.check("a thread does what its handler leaves", threads::threaded());
    ktap.check("the thread goes where its line may go", threads::follows());
    ktap.check(
        "a line that comes without a reason is given up",
        threads::spurious(),
    );
    ktap.check("one without a user is masked", threads::unexpected());
    ktap.check(
        "each CPU has a private interrupt for itself",
        private::each_cpu(),
    );
    if lines::cpus() > 1 {
        ktap.check("a line goes where its affinity says", users::affine());
        ktap.check("a managed line rests and comes back", users::managed());
        ktap.check("lines follow the CPUs, and none is lost", storm::edges());
        ktap.check(
            "an affinity that is set while its CPU leaves ends on a CPU",
            storm::affinity(),
        );
    } else {
        for name in [
            "a line goes where its affinity says",
            "a managed line rests and comes back",
            "lines follow the CPUs, and none is lost",
            "an affinity that is set while its CPU leaves ends on a CPU",
        ] {
            ktap.inapplicable(name, "one CPU");
        }
    }
    ktap.check("as much memory in use as before", used.is_back());
    ktap.finish()
}
