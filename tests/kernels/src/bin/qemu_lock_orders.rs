//! Correct programs that take several locks of one kind, in a debug build: the lock
//! validator accepts them. `qemu_misuse.rs` has their incorrect twins.

//@ smp: 2 4
//@ profile: dev
//@ cases: accounts levels vectors fork-join scope full
//
//@ case: full
//@ output: more than 24 locks held at a time: the lock validator is off$

#![no_std]
#![no_main]

extern crate alloc;

stillpoint::entry!(main);

use alloc::vec::Vec;
use core::time::Duration;

use stillpoint::api::{self, thread};
use stillpoint::kernel::Hw;
use stillpoint::sched::lock::{Mutex, Nesting, RwLock};

use kernel_support::case::case;
use kernel_support::ktap::Ktap;

type M<T> = Mutex<T, Hw>;

/// Two threads move money between all pairs of accounts; returns the sum of all accounts.
fn accounts() -> u64 {
    let accounts: Vec<M<u64>> = (0..8).map(|_| Mutex::new(100)).collect();
    let transfer = |from: usize, to: usize| {
        let mut low = accounts[from.min(to)].lock();
        let mut high = accounts[from.max(to)].lock_nested(Nesting::Ascending);
        *low -= 1;
        *high += 1;
    };
    let all_pairs = || {
        for from in 0..accounts.len() {
            let others = (0..accounts.len()).filter(|to| *to != from);
            others.for_each(|to| transfer(from, to));
        }
    };
    thread::scope(|scope| {
        let _other = scope.spawn(all_pairs);
        all_pairs();
    });
    accounts.iter().map(|account| *account.lock()).sum()
}

/// Locks that are made at one place, and always taken from the root to the leaf.
fn levels() -> u32 {
    let node = |value: u32| RwLock::<u32, Hw>::new(value);
    let (root, branch, leaf) = (node(1), node(2), node(3));
    for _ in 0..2 {
        let root = root.read();
        let branch = branch.read_nested(Nesting::Level(1));
        let mut leaf = leaf.write_nested(Nesting::Level(2));
        *leaf += *root + *branch;
    }
    *leaf.read()
}

/// Vectors that have nothing to do with each other, made as Rust programmers do.
fn vectors() -> usize {
    let names: Vec<M<&str>> = ["a", "b", "c"].map(Mutex::new).into();
    let sizes: Vec<M<usize>> = (0..3).map(Mutex::new).collect();
    let mut sum = 0;
    for (name, size) in names.iter().zip(&sizes) {
        let name = name.lock();
        let mut size = size.lock();
        *size += name.len();
        sum += *size;
    }
    sum
}

/// Threads of two kinds, each of which starts one of the other kind and joins it.
fn even(depth: u32) -> u32 {
    match depth {
        0 => 0,
        _ => 1 + thread::spawn(move || odd(depth - 1)).join(),
    }
}

fn odd(depth: u32) -> u32 {
    match depth {
        0 => 0,
        _ => 1 + thread::spawn(move || even(depth - 1)).join(),
    }
}

/// The caller holds what a thread of the scope takes, but only after it has joined it.
fn scope() -> u32 {
    let lock: M<u32> = Mutex::new(0);
    let held = thread::scope(|scope| {
        scope.spawn(|| *lock.lock() += 1).join();
        let held = lock.lock();
        let _other = scope.spawn(|| api::sleep(Duration::from_millis(1)));
        held
    });
    *held
}

/// Holds more locks at a time than the validator can record, and then makes a mistake that it
/// would have found.
fn full() -> usize {
    let locks: Vec<M<()>> = (0..30).map(|_| Mutex::new(())).collect();
    let held = locks.iter();
    let held: Vec<_> = held
        .map(|lock| lock.lock_nested(Nesting::Ascending))
        .collect();
    let number = held.len();
    drop(held);
    let _last = locks[29].lock();
    let _first = locks[0].lock();
    number
}

fn main() {
    let mut ktap = Ktap::new();
    match case() {
        "accounts" => ktap.equal("no money is lost", accounts(), 800),
        "levels" => ktap.equal("a leaf is changed twice", levels(), 9),
        "vectors" => ktap.equal("two vectors", vectors(), 6),
        "fork-join" => ktap.equal("threads by turns", even(5), 5),
        "scope" => ktap.equal("a thread was joined", scope(), 1),
        "full" => ktap.equal("all are held", full(), 30),
        other => ktap.check(other, false),
    }
    ktap.finish()
}
