use core::time::Duration;

use stillpoint::api::sync::{Mutex, MutexGuard, Nesting, RwLock};
use stillpoint::api::sync::{RwLockReadGuard, RwLockWriteGuard};
use stillpoint::api::time::deadline;
use stillpoint::println;

/// Accounts of a bank, each with a lock of its own: a static, as it is too large for a stack.
pub(crate) struct Bank {
    accounts: [Mutex<i64>; 100],
    /// Read for each booking, and changed twice a year.
    rates: [RwLock<u32>; 2],
}

impl Bank {
    /// Moves money. Two threads that move it to and fro would wait for each other for ever, if each
    /// began with its own side. So all begin with the lower account, and say so to the validator.
    pub(crate) fn transfer(&self, from: usize, to: usize, amount: i64) {
        assert_ne!(from, to);
        let low = self.accounts[from.min(to)].lock();
        let high = self.accounts[from.max(to)].lock_nested(Nesting::Ascending);
        let [payer, payee] = if from < to { [low, high] } else { [high, low] };
        book(payer, -amount);
        book(payee, amount);
    }

    /// Adds interest, unless a customer keeps the account for too long.
    pub(crate) fn add_interest(&self, account: usize) -> bool {
        let soon = deadline(Duration::from_millis(50));
        let Some(guard) = self.accounts[account].lock_until(soon) else {
            println!("account {account} is left for tomorrow");
            return false;
        };
        let interest = *guard / 100 * i64::from(*self.rate(0));
        book(guard, interest);
        true
    }

    /// Returns the sum of what is in accounts that no thread uses now.
    pub(crate) fn glance(&self) -> i64 {
        let free = self.accounts.iter().filter_map(Mutex::try_lock);
        free.map(|account| *account).sum()
    }

    /// Readers don't keep each other out.
    fn rate(&self, of: usize) -> RwLockReadGuard<'_, u32> {
        self.rates[of].read()
    }

    /// Compares two rates, of which neither changes meanwhile.
    pub(crate) fn difference(&self) -> u32 {
        let first = self.rates[0].read();
        first.abs_diff(*self.rates[1].read_nested(Nesting::Ascending))
    }

    /// Changes both. No reader sees the one before and the other after.
    pub(crate) fn change_rates(&self, to: u32) {
        let mut first: RwLockWriteGuard<'_, u32> = self.rates[0].write();
        let mut second = self.rates[1].write_nested(Nesting::Ascending);
        (*first, *second) = (to, to);
    }

    pub(crate) const fn new() -> Bank {
        Bank {
            accounts: [const { Mutex::new(0) }; 100],
            rates: [const { RwLock::new(1) }; 2],
        }
    }
}

/// The guard is the account while it lasts, and opens it when it is dropped here.
fn book(mut account: MutexGuard<'_, i64>, amount: i64) {
    *account += amount;
}
