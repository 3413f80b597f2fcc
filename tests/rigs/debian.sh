# Sourced: packages of Debian's that are unpacked, not installed. Needs bash and apt.
#
# Firmware and hypervisors for arm64 are taken from a package world of its own: its
# sources are a copy of the machine's, its lists, its cache and its list of what is
# installed (nothing) are in `rigs` of the target directory. The machine's own apt
# neither learns of arm64 nor of anything else.

rigs=$(realpath -m "${CARGO_TARGET_DIR:-target}/rigs")
mkdir -p "$rigs"
host=$(dpkg --print-architecture 2>/dev/null || echo amd64)

# The status of a script whose tools can't be had; its last line says why.
skip=77

cannot() {
    echo "$*" >&2
    exit "$skip"
}

# rig_apt ARGUMENT... runs apt-get there, with what it says in rigs/apt.log.
rig_apt() {
    local options=(-q -o Dir::Etc::sourcelist=/dev/null -o "Dir::Etc::sourceparts=$rigs/sources"
        -o "Dir::State=$rigs/state" -o "Dir::State::status=$rigs/status" -o "Dir::Cache=$rigs/cache"
        -o APT::Architecture=arm64 -o "APT::Architectures=arm64,$host" -o Acquire::Languages=none
        -o APT::Sandbox::User= -o Debug::NoLocking=1)
    timeout -k 5 300 apt-get "${options[@]}" "$@" >>"$rigs/apt.log" 2>&1
}

# Reads the package lists, once.
rig_lists() {
    [ ! -e "$rigs/listed" ] || return 0
    command -v apt-get >/dev/null || cannot "this system has no apt"
    mkdir -p "$rigs"/{sources,state/lists/partial,cache/archives/partial,packages}
    : >"$rigs/status"
    local file
    for file in /etc/apt/sources.list.d/*.sources; do
        [ -e "$file" ] && sed 's/^Types:.*/Types: deb deb-src/' "$file" >"$rigs/sources/${file##*/}"
    done
    for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
        [ -e "$file" ] || continue
        sed -n 's/^deb /deb-src /p; /^deb /p' "$file" >"$rigs/sources/${file##*/}.list"
    done
    # A source that has no arm64 is no reason to give up.
    rig_apt update || true
    : >"$rigs/listed"
}

# unpack PACKAGE[:ARCHITECTURE] unpacks a binary package, by default the one for arm64 or
# for every architecture, and prints its directory.
unpack() {
    local to=$rigs/packages/${1/:/_}
    if [ ! -e "$to/.done" ]; then
        rig_lists
        rm -rf "$to"
        mkdir -p "$to/.deb"
        (cd "$to/.deb" && rig_apt download "$1") || cannot "Debian's package $1 can't be had"
        dpkg-deb -x "$to"/.deb/*.deb "$to"
        : >"$to/.done"
    fi
    echo "$to"
}

# unpack_source PACKAGE unpacks a source package and prints its directory.
unpack_source() {
    local to=$rigs/packages/$1-source
    if [ ! -e "$to/.done" ]; then
        command -v dpkg-source >/dev/null || cannot "there is no dpkg-source (package dpkg-dev)"
        rig_lists
        rm -rf "$to" "$to.dsc"
        mkdir -p "$to.dsc"
        (cd "$to.dsc" && rig_apt source --download-only "$1") ||
            cannot "the source of Debian's package $1 can't be had"
        dpkg-source --no-check -x "$to.dsc"/*.dsc "$to" >>"$rigs/apt.log" 2>&1
        : >"$to/.done"
    fi
    echo "$to"
}

# newest PATTERN prints the newest package for arm64 whose name matches.
newest() {
    rig_lists
    apt-cache -o "Dir::State=$rigs/state" -o "Dir::Cache=$rigs/cache" -o "Dir::State::status=$rigs/status" \
        -o APT::Architecture=arm64 -o APT::Architectures=arm64 \
        -o Dir::Etc::sourcelist=/dev/null -o "Dir::Etc::sourceparts=$rigs/sources" pkgnames |
        grep -x "$1" | sort -V | tail -n 1
}

# needs_command COMMAND PACKAGE installs PACKAGE, with a line, if COMMAND is missing.
needs_command() {
    command -v "$1" >/dev/null && return
    echo "nightly: adding the package $2"
    DEBIAN_FRONTEND=noninteractive timeout -k 5 600 apt-get -q -o DPkg::Lock::Timeout=120 \
        install -y --no-remove --no-install-recommends "$2" >>"$rigs/apt.log" 2>&1 ||
        cannot "Debian's package $2 can't be had"
}

# What every machine is asked to do, and how it is judged: the Image's own checks, CPUs
# that go and come back, a stop, and the way out.
rig_commands='selftest; chcpu -d 1-3; lscpu -e; chcpu -e 1-3; stop; echo rig: done; poweroff'

# judge_rig LOG adds to `why` unless all of that is in LOG.
judge_rig() {
    judge_selftest "$1"
    local cpu
    for cpu in 1 2 3; do
        if [ -z "$why" ] && ! grep -q "^CPU $cpu disabled" "$1"; then
            why="CPU $cpu did not go"
        elif [ -z "$why" ] && ! grep -q "^CPU $cpu enabled" "$1"; then
            why="CPU $cpu did not come back"
        fi
    done
    if [ -z "$why" ] && ! grep -q '^rig: done' "$1"; then
        why='the last command did not run'
    fi
}
