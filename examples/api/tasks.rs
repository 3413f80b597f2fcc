use core::time::Duration;

use alloc::vec::Vec;

use stillpoint::api::hotplug::InstallError;
use stillpoint::api::pool::Pool;
use stillpoint::api::task::{block_on, sleep};

/// Adds up what tasks return that all sleep at the same time.
pub(crate) fn sum_of_sleepers() -> Result<u64, InstallError> {
    let pool = Pool::new()?;
    let sleepers: Vec<_> = (1..=10)
        .map(|number| {
            pool.spawn_async(async move {
                sleep(Duration::from_millis(number)).await;
                number
            })
        })
        .collect();
    Ok(block_on(async {
        let mut sum = 0;
        for sleeper in sleepers {
            sum += sleeper.await;
        }
        sum
    }))
}
