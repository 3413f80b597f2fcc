//! Says why a build for the host fails, before it fails a hundred times.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|os| os != "none") {
        println!(
            "cargo::error=test kernels run on the bare machine: add \
             `--target aarch64-unknown-none`, or leave them out by \
             `--exclude stillpoint-kernels`"
        );
    }
}
