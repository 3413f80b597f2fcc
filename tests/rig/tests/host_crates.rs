//! Checks the crates that the kernel and the rig are built from, as cargo has resolved them: where
//! they come from, under which licence, and that there is one version of each.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// Where all crates but those of this tree come from.
const SOURCE: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// The licences that go with this project's own. 0BSD asks for nothing, not even a notice.
const LICENCES: [&str; 4] = ["0BSD", "Apache-2.0", "MIT", "Unicode-3.0"];

/// The crates under another licence, each with the duty that it brings.
const OTHER_LICENCES: [(&str, &str, &str); 1] = [(
    "fdt",
    "MPL-2.0",
    "its source must be available, as README.md says",
)];

/// The crates of which there is more than one version, each with the reason.
const VERSIONS: [(&str, &str); 2] = [
    (
        "bitflags",
        "smoltcp has stayed with 1, and all others use 2",
    ),
    (
        "syn",
        "the derives of dependencies disagree; it runs on the host",
    ),
];

/// A crate as it was resolved.
struct Crate {
    name: String,
    source: Option<String>,
    licence: String,
}

/// Returns the crates in the JSON that `cargo metadata` prints.
fn crates(json: &[u8]) -> Vec<Crate> {
    let metadata: Value = serde_json::from_slice(json).expect("JSON");
    let packages = metadata["packages"].as_array().expect("packages");
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let read = |package: &Value| Crate {
        name: text(&package["name"]).expect("a name"),
        source: text(&package["source"]),
        licence: text(&package["license"]).unwrap_or_default(),
    };
    packages.iter().map(read).collect()
}

/// Returns whether a program may be built from a crate under `licence`, an expression of SPDX, or
/// of Cargo's older kind with a slash.
fn is_allowed(licence: &str) -> bool {
    licence.split(" AND ").all(|part| {
        let part = part.trim_matches(['(', ')']);
        let mut choices = part.split(" OR ").flat_map(|choice| choice.split('/'));
        choices.any(|choice| LICENCES.contains(&choice))
    })
}

/// Returns what is wrong with `crates`.
fn faults(crates: &[Crate]) -> Vec<String> {
    let mut found = Vec::new();
    let mut versions = BTreeMap::<&str, u32>::new();
    for Crate {
        name,
        source,
        licence,
    } in crates
    {
        if source.as_deref().is_some_and(|source| source != SOURCE) {
            found.push(format!("{name} comes from {source:?}"));
        }
        let other = OTHER_LICENCES
            .iter()
            .any(|(of, which, _)| of == name && which == licence);
        if !is_allowed(licence) && !other {
            found.push(format!("{name} is under {licence:?}"));
        }
        *versions.entry(name).or_default() += 1;
    }
    for (name, count) in versions {
        let several = VERSIONS.iter().any(|(several, _)| *several == name);
        if (count > 1) != several {
            found.push(format!("{name}: {count} versions"));
        }
    }
    found
}

#[test]
fn the_crates_are_known() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let output = Command::new(env!("CARGO"))
        .current_dir(root)
        .args(["metadata", "--locked", "--format-version", "1"])
        .args(["--filter-platform", "x86_64-unknown-linux-gnu"])
        .args(["--filter-platform", "aarch64-unknown-none"])
        .output()
        .expect("cargo can be started");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let crates = crates(&output.stdout);
    assert!(crates.len() > 40, "only {} crates", crates.len());
    assert_eq!(faults(&crates), [""; 0]);
}

#[test]
fn what_is_wrong_with_a_crate_is_told() {
    let of = |name: &str, source: Option<&str>, licence: &str| Crate {
        name: name.to_owned(),
        source: source.map(str::to_owned),
        licence: licence.to_owned(),
    };
    let known = [
        of("stillpoint", None, "MIT OR Apache-2.0"),
        of("fdt", Some(SOURCE), "MPL-2.0"),
        of("ident", Some(SOURCE), "(MIT OR Apache-2.0) AND Unicode-3.0"),
        of("old", Some(SOURCE), "BSD-3-Clause/MIT"),
        of("syn", Some(SOURCE), "MIT"),
        of("syn", Some(SOURCE), "MIT"),
    ];
    assert_eq!(faults(&known), [""; 0]);
    let wrong = [
        of("far", Some("git+https://example.org/far"), "MIT"),
        of("free", Some(SOURCE), "MIT AND GPL-3.0-only"),
        of("other", Some(SOURCE), "MPL-2.0"),
        of("none", Some(SOURCE), ""),
        of("two", Some(SOURCE), "MIT"),
        of("two", Some(SOURCE), "MIT"),
        of("syn", Some(SOURCE), "MIT"),
    ];
    assert_eq!(
        faults(&wrong),
        [
            "far comes from Some(\"git+https://example.org/far\")",
            "free is under \"MIT AND GPL-3.0-only\"",
            "other is under \"MPL-2.0\"",
            "none is under \"\"",
            "syn: 1 versions",
            "two: 2 versions",
        ]
    );
}
