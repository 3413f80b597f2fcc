use core::time::Duration;

use stillpoint::api::Errno;
use stillpoint::api::net;
use stillpoint::println;

/// Prints the machine's addresses when it has one, and how far its name server is.
pub(crate) fn report() -> Result<(), Errno> {
    net::wait_until_up(Duration::from_secs(10))?;
    for (address, prefix) in net::addresses() {
        println!("{address}/{prefix}");
    }
    for server in net::name_servers() {
        let time = net::ping(server, Duration::from_secs(5))?;
        println!("{server}: {} us", time.as_micros());
    }
    Ok(())
}
