//! E0277: What a thread asks of its CPU, no other one asks.
#![no_std]
#![crate_type = "lib"]

use stillpoint::api::hotplug::Residence;
use stillpoint::api::thread;

fn shared(residence: &Residence<'_>) {
    thread::scope(|scope| {
        scope.spawn(|| residence.stay());
    });
}
