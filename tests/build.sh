# Sourced: building tests, and kernels that are not the one that is shipped. Needs bash.

# built_tests ARGUMENT... builds the tests that these arguments of cargo name, and prints
# the path of each program; fails, and prints none, if one doesn't compile.
built_tests() {
    local messages
    messages=$(cargo test --no-run --message-format=json-render-diagnostics "$@") || return
    sed -n 's/.*"executable":"\([^"]*\)".*/\1/p' <<<"$messages"
}

# A variant is a kernel that is not the one that is shipped. Dependencies are most of what
# there is to build, so it differs in settings of our own package alone, which cargo tells
# apart, and is built among the files of the others; what comes of it goes to a directory
# of its own, and the shipped kernel stays.

# as_variant NAME SETTING... sets `variant` to cargo's arguments for the variant NAME,
# whose files are in NAME of the target directory.
as_variant() {
    local setting dir=${CARGO_TARGET_DIR:-target}
    variant=(--release --target-dir "$dir/$1" --config "build.build-dir='$dir'")
    shift
    for setting in "$@"; do
        variant+=(--config "profile.release.package.stillpoint.$setting")
    done
}

# As in the profile `dev`: small optimization, and the lock validator.
as_debug_build() {
    as_variant checked debug-assertions=true opt-level=1 codegen-units=16
}
