//! What the types forbid: each file in `compile_fail` is a mistake that must not
//! compile. Its first line names the error that the compiler has for it, or `ok` for
//! the one that is none.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

/// The library as this test was linked with: the newest of them, beside it.
fn library() -> PathBuf {
    let here = env::current_exe().expect("a program knows where it is");
    let dir = here.parent().expect("a program is in a directory");
    let files = fs::read_dir(dir).expect("it can be read");
    files
        .filter_map(|file| Some(file.ok()?.path()))
        .filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with("libstillpoint-") && name.ends_with(".rlib")
        })
        .max_by_key(|path| fs::metadata(path).and_then(|data| data.modified()).ok())
        .expect("the library has been built")
}

/// What the compiler says of `source`; nothing if that is in order.
fn compile(source: &Path, library: &Path) -> String {
    let deps = library.parent().expect("a file is in a directory");
    let output = Command::new(env::var("RUSTC").unwrap_or_else(|_| "rustc".into()))
        .args(["--edition=2024", "--emit=metadata", "-o"])
        .arg(concat!(env!("CARGO_TARGET_TMPDIR"), "/compile_fail.rmeta"))
        .arg(format!("-Ldependency={}", deps.display()))
        .arg(format!("--extern=stillpoint={}", library.display()))
        .arg(source)
        .output()
        .expect("the compiler can be started");
    if output.status.success() {
        String::new()
    } else {
        String::from_utf8_lossy(&output.stderr).into_owned()
    }
}

#[test]
fn mistakes_do_not_compile() {
    let library = library();
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/compile_fail");
    let mut seen = 0;
    for file in fs::read_dir(dir).expect("it can be read") {
        let path = file.expect("it can be read").path();
        let text = fs::read_to_string(&path).expect("it can be read");
        let wanted = text
            .strip_prefix("//! ")
            .and_then(|rest| rest.split_once(':'))
            .map(|(wanted, _)| wanted)
            .unwrap_or_else(|| panic!("{} does not say what it is for", path.display()));
        let said = compile(&path, &library);
        let as_it_should_be = match wanted {
            "ok" => said.is_empty(),
            error => said.contains(&format!("error[{error}]")),
        };
        assert!(as_it_should_be, "{}: {wanted}?\n{said}", path.display());
        seen += 1;
    }
    assert!(seen > 7, "only {seen} files");
}
