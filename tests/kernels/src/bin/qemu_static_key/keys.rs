//! Keys of both kinds, their words and counts, alone and together, with one CPU and from another.

use stillpoint::api;
use stillpoint::api::hotplug::cpus_read_lock;
use stillpoint::api::static_key::{KeyError, StaticKey, change};
use stillpoint::arch::aarch64::image;
use stillpoint::kernel::{Hw, kernel};
use stillpoint::patch::{NOP, Site, branch};
use stillpoint::platform::Platform;
use stillpoint::{static_branch_likely, static_branch_unlikely};

use kernel_support::ktap::Ktap;
use kernel_support::machine::{last_cpu, leave_and_return, stay_on_boot_cpu};
use kernel_support::page::is_mapped;

use crate::{KEY, example, is_on, sites, word};

static LIKELY: StaticKey = StaticKey::new();
static ON: StaticKey<true> = StaticKey::new();
static ON_LIKELY: StaticKey<true> = StaticKey::new();
static NOWHERE: StaticKey = StaticKey::new();

#[inline(never)]
fn likely_is_on() -> bool {
    static_branch_likely!(LIKELY)
}

#[inline(never)]
fn on_is_on() -> bool {
    static_branch_unlikely!(ON)
}

#[inline(never)]
fn on_likely_is_on() -> bool {
    static_branch_likely!(ON_LIKELY)
}

pub(crate) fn test() -> ! {
    let mut ktap = Ktap::new();
    words(&mut ktap);
    counts(&mut ktap);
    together(&mut ktap);
    refused(&mut ktap);
    few_cpus(&mut ktap);
    examples(&mut ktap);
    ktap.finish()
}

fn branch_of(site: &Site) -> u32 {
    branch(site.at, site.target).expect("the table's branches reach")
}

/// Turns `key`, which starts as `starts`, and back; returns whether its site has the right word
/// each time, and `look_fn` the right value. `branches_when` is the value with a branch.
fn turn<const STARTS: bool>(
    key: &'static StaticKey<STARTS>,
    look_fn: fn() -> bool,
    branches_when: bool,
) -> bool {
    let found = sites(key);
    let [site] = &found[..] else {
        stillpoint::println!("# sites {found:x?}");
        return false;
    };
    let is = |on: bool| {
        let wanted = if on == branches_when {
            branch_of(site)
        } else {
            NOP
        };
        let (found, seen) = (word(site), look_fn());
        if found != wanted || seen != on {
            stillpoint::println!(
                "# {found:#010x} at {:#x}, wanted {wanted:#010x}, {seen}",
                site.at
            );
        }
        found == wanted && seen == on
    };
    let turn = |on: bool| {
        let turned = if on { key.enable() } else { key.disable() };
        turned == Ok(()) && is(on)
    };
    is(STARTS) && turn(!STARTS) && turn(STARTS) && turn(!STARTS) && turn(STARTS)
}

fn words(ktap: &mut Ktap) {
    ktap.check(
        "a site that is unlikely is a NOP while its key is off, and a branch while it is on",
        turn(&KEY, is_on, true),
    );
    ktap.check(
        "a site that is likely is a branch while its key is off, and a NOP while it is on",
        turn(&LIKELY, likely_is_on, false),
    );
    ktap.check(
        "the same of keys that begin on",
        turn(&ON, on_is_on, true) && turn(&ON_LIKELY, on_likely_is_on, false),
    );
    let alias = image::text_alias().start;
    let gone = api::on_each_cpu(|cpu| {
        assert!(!is_mapped(alias), "CPU {cpu} has the alias of text");
    });
    ktap.equal(
        "the alias is gone on every CPU",
        gone,
        kernel().masks.online(),
    );
}

/// Returns how many stops `act_fn` makes.
fn stops_of(act_fn: impl FnOnce()) -> u64 {
    let before = kernel().stop_machine.stops();
    act_fn();
    kernel().stop_machine.stops() - before
}

fn counts(ktap: &mut Ktap) {
    let turns = [true, true, false, false].map(|on| {
        let stops = stops_of(|| {
            let turned = if on { KEY.enable() } else { KEY.disable() };
            assert_eq!(turned, Ok(()));
        });
        (stops, KEY.count_racy(), is_on())
    });
    ktap.equal(
        "only the first enable and the last disable stop the machine",
        turns,
        [(1, 1, true), (0, 2, true), (0, 1, true), (1, 0, false)],
    );
    let stops = stops_of(|| assert_eq!(NOWHERE.enable(), Ok(())));
    ktap.equal(
        "a key without sites stops nothing",
        (stops, NOWHERE.count_racy()),
        (0, 1),
    );
    assert_eq!(NOWHERE.disable(), Ok(()));
}

fn together(ktap: &mut Ktap) {
    let see = || (is_on(), likely_is_on(), on_is_on());
    let before = see();
    let stops = stops_of(|| {
        let turned = change(&[KEY.enabling(), LIKELY.enabling(), ON.disabling()]);
        assert_eq!(turned, Ok(()));
    });
    ktap.equal(
        "keys that change together take one stop",
        (before, stops, see()),
        ((false, false, true), 1, (true, true, false)),
    );
    let back = change(&[ON.enabling(), LIKELY.disabling(), KEY.disabling()]);
    ktap.equal("and turn back together", (back, see()), (Ok(()), before));
}

fn refused(ktap: &mut Ktap) {
    let stops = stops_of(|| {
        ktap.equal(
            "a key that is off isn't disabled, and nothing else of its batch happens",
            (
                change(&[LIKELY.enabling(), KEY.disabling()]),
                LIKELY.count_racy(),
                likely_is_on(),
            ),
            (Err(KeyError::NotEnabled), 0, false),
        );
        let held = cpus_read_lock();
        let refused = KEY.enable();
        drop(held);
        ktap.equal(
            "a change under the hotplug lock is refused",
            refused,
            Err(KeyError::WouldDeadlock),
        );
    });
    ktap.equal(
        "no stop has been made for them",
        (stops, is_on()),
        (0, false),
    );
}

fn few_cpus(ktap: &mut Ktap) {
    stay_on_boot_cpu();
    let alone = leave_and_return(|| turn(&KEY, is_on, true));
    ktap.check("a key changes with one CPU online", alone);
    let last = last_cpu();
    let turned = api::spawn_on(last, "turns", move || {
        (Hw::this_cpu() == last, turn(&KEY, is_on, true))
    });
    let turned = turned.expect("a thread").join();
    ktap.equal("a key changes from the last CPU", turned, (true, true));
}

fn examples(ktap: &mut Ktap) {
    let serve = || {
        let mut requests = [3, 1, 2];
        example::serve(&mut requests);
        requests
    };
    let before = serve();
    let debug = (example::debug(), serve());
    let after = (example::debug_no_more(), serve());
    ktap.equal(
        "the example of the documentation",
        (before, debug, after),
        ([1, 2, 3], (Ok(()), [3, 1, 2]), (Ok(()), [1, 2, 3])),
    );
}
