#!/usr/bin/env bash
# Installs what a build and a check need and this machine lacks, for `make setup`.
# Prints a line for each thing that it adds, and nothing when all is there.
#
#   tests/setup.sh            everything
#   tests/setup.sh toolchain  only the Rust toolchain, as the rig needs it
#   tests/setup.sh packages   only the system's packages (needs root)
#   tests/setup.sh load       the clients that ask a web server: wrk and ab
#
# Needs rustup, and apt for the packages. It never removes a package, and leaves
# no package source behind.
set -eu
cd "$(dirname "$0")/.."

say() { echo "setup: $*"; }

# The value of a key of a TOML file, quotes and brackets taken off.
toml() {
    sed -n "s/^$2 *= *//p" "$1" | tr -d '[]",'
}

# The toolchain that rust-toolchain.toml names, with its targets and components;
# each is installed by name, because rustup may be set not to install by itself.
setup_toolchain() {
    if ! command -v rustup >/dev/null; then
        say "rustup is missing; see https://rustup.rs, then run this again"
        exit 1
    fi

    local toolchain installed
    toolchain=${RUSTUP_TOOLCHAIN:-$(toml rust-toolchain.toml channel)}
    installed=$(rustup toolchain list)
    case $'\n'$installed in
        *$'\n'"$toolchain"[-\ ]* | *$'\n'"$toolchain") ;;
        *)
            say "adding the Rust toolchain $toolchain"
            rustup --quiet toolchain install "$toolchain" --profile minimal --no-self-update >/dev/null
            ;;
    esac

    local needed
    needed=$(toml Cargo.toml rust-version)
    installed=$(rustc "+$toolchain" --version | cut -d ' ' -f 2)
    if [ "$(printf '%s\n%s\n' "$needed" "$installed" | sort -V | head -n 1)" != "$needed" ]; then
        say "updating the Rust toolchain $toolchain from $installed, $needed is needed"
        rustup --quiet update --no-self-update "$toolchain" >/dev/null
    fi

    local item
    installed=$(rustup target list --toolchain "$toolchain" --installed)
    for item in $(toml rust-toolchain.toml targets); do
        if ! grep -qx "$item" <<<"$installed"; then
            say "adding the Rust target $item"
            rustup --quiet target add --toolchain "$toolchain" "$item"
        fi
    done
    # rustup lists them with the host's name at the end: `clippy-x86_64-unknown-linux-gnu`.
    installed=$(rustup component list --toolchain "$toolchain" --installed)
    for item in $(toml rust-toolchain.toml components); do
        if ! grep -q "^$item\(-\|\$\)" <<<"$installed"; then
            say "adding the Rust component $item"
            rustup --quiet component add --toolchain "$toolchain" "$item"
        fi
    done
}

codename() {
    (. /etc/os-release && echo "${VERSION_CODENAME:-}")
}

# The packages whose commands and files are missing.
missing_packages() {
    command -v qemu-system-aarch64 >/dev/null || echo qemu-system-arm
    command -v dtc >/dev/null || echo device-tree-compiler
    [ -e /usr/lib/u-boot/qemu_arm64/u-boot.bin ] || echo u-boot-qemu
}

# Succeeds if QEMU is Debian 12's own, 7.2. It has no Raspberry Pi 4, and is enough for
# all else. The backports have a newer one.
qemu_is_old() {
    [ "$(codename)" = bookworm ] && ! qemu-system-aarch64 -M help | grep -q '^raspi4b '
}

# Runs apt-get for this call only; shows what it said if it fails.
# It waits while another program uses apt, such as the machine's own updates.
apt() {
    if ! DEBIAN_FRONTEND=noninteractive \
        apt-get -q -o DPkg::Lock::Timeout=120 "$@" >"$scratch/log" 2>&1; then
        sed 's/^/    /' "$scratch/log"
        return 1
    fi
}

install() {
    apt "$@" install -y --no-remove --no-install-recommends $packages
}

# The URIs of this machine's own sources that have a `bookworm`: its Debian
# mirror, and maybe others' (Docker's, say).
bookworm_uris() {
    cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list 2>/dev/null |
        awk '$1 == "deb" && / bookworm / { for (i = 2; i <= NF; i++) if ($i ~ /:\/\//) { print $i; next } }'
    # A stanza has its fields in any order, and an empty line ends it.
    for file in /etc/apt/sources.list.d/*.sources; do
        [ -e "$file" ] || continue
        awk -v RS= '/(^|\n)Suites:[^\n]* bookworm( |\n|$)/ && match($0, /(^|\n)URIs:[^\n]*/) {
            split(substr($0, RSTART, RLENGTH), field, /[ \t]+/); print field[2] }' "$file"
    done
}

# Debian 12 has QEMU 7.2; its backports have a newer one, which has the Raspberry Pi 4.
# The backports are a source for these two calls only: a copy of the machine's
# sources with a few lines more, and package lists of their own. The
# function needn't know which URI is Debian's mirror: the others have no backports
# that Debian's key has signed.
install_from_backports() {
    local parts=$scratch/parts
    mkdir -p "$parts" "$scratch/lists/partial"
    if [ -e /etc/apt/sources.list ]; then
        cp /etc/apt/sources.list "$parts/machine.list"
    fi
    cp /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources "$parts" 2>/dev/null || true
    if ! grep -qs '^[^#]*bookworm-backports' "$parts"/*; then
        local keyring=/usr/share/keyrings/debian-archive-keyring.gpg options= uri
        if [ -e "$keyring" ]; then
            options="[signed-by=$keyring] "
        fi
        local uris
        uris=$(bookworm_uris | sed 's,/*$,,' | sort -u)
        for uri in ${uris:-http://deb.debian.org/debian}; do
            echo "deb $options$uri bookworm-backports main"
        done >"$parts/backports.list"
    fi
    local sources=(-o Dir::Etc::sourcelist=/dev/null -o "Dir::Etc::sourceparts=$parts"
        -o "Dir::State::lists=$scratch/lists" -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache=)
    # A foreign source may be unreachable; the packages come from Debian's.
    apt "${sources[@]}" update || true
    install "${sources[@]}" -t bookworm-backports
}

# Installs the packages $1, as root; otherwise prints the command that does, and
# fails.
setup_packages() {
    packages=$1
    if [ -z "$packages" ]; then
        return
    fi
    if ! command -v apt-get >/dev/null; then
        say "missing, and this system has no apt: $packages"
        return 1
    fi
    if [ "$(id -u)" != 0 ]; then
        if command -v sudo >/dev/null && sudo "$PWD/tests/setup.sh" packages; then
            return
        fi
        say "missing or too old: $packages; run this as root, then try again:"
        say "  $PWD/tests/setup.sh packages"
        return 1
    fi

    if [ -z "${scratch:-}" ]; then
        scratch=$(mktemp -d)
        trap 'rm -rf "$scratch"' EXIT
    fi
    # apt fetches as a user of its own.
    umask 022
    chmod 755 "$scratch"
    local package
    for package in $packages; do
        say "adding the package $package"
    done
    if [ "$(codename)" = bookworm ]; then
        if install_from_backports; then
            return
        fi
        say "bookworm-backports is not available: taking Debian 12's own QEMU 7.2"
    fi
    # The package lists are updated only if the packages can't be installed with the old ones.
    install 2>/dev/null >&2 || { apt update || true; install; }
}

# Tries to install a newer QEMU, once until `make clean`. If it can't, the setup goes on:
# an old QEMU is enough for most tests. $1: the packages that have just been installed.
setup_newer_qemu() {
    local asked=${CARGO_TARGET_DIR:-target}/asked-for-newer-qemu
    if [ -e "$asked" ] || ! qemu_is_old; then
        return
    fi
    case $1 in
        *qemu-system-arm*) ;;
        # A failure doesn't end the setup: the old one is enough for all but raspi4b.
        *) setup_packages qemu-system-arm || true ;;
    esac
    if qemu_is_old; then
        say "this QEMU has no Raspberry Pi 4: tests that need one will be skipped"
        mkdir -p "${asked%/*}"
        : >"$asked"
    fi
}

case ${1:-} in
    '')
        setup_toolchain
        missing=$(missing_packages | paste -sd ' ')
        setup_packages "$missing"
        setup_newer_qemu "$missing"
        ;;
    toolchain)
        setup_toolchain
        ;;
    packages)
        missing=$(missing_packages | paste -sd ' ')
        if command -v qemu-system-aarch64 >/dev/null && qemu_is_old; then
            missing+=" qemu-system-arm"
        fi
        setup_packages "${missing# }"
        ;;
    load)
        missing=
        command -v wrk >/dev/null || missing+=" wrk"
        command -v ab >/dev/null || missing+=" apache2-utils"
        setup_packages "${missing# }"
        ;;
    *)
        say "usage: tests/setup.sh [toolchain|packages|load]"
        exit 1
        ;;
esac
