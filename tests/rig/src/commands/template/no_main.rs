#![no_std]
#![no_main]

use stillpoint as _;
