#!/usr/bin/env bash
# Makes everything a checkout needs to run and test a cluster on this machine: the virtual
# environment, the C libraries, the control plane's programs. Safe to repeat, to interrupt and to
# run twice at once; does nothing, fast, when everything is there.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
venv="$root/.venv"
stamp="$venv/.hcs-installed"
steps=8 # wheels, C, then the six programs of hcs_edge.local.programs

fail() {
    echo "error: $*" >&2
    exit 1
}

find_python() {
    # 3.11 first: requirements.lock was resolved for it.
    local candidate
    for candidate in ${PYTHON:-} python3.11 python3.12 python3.13 python3.14 python3; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$candidate"
            return
        fi
    done
    fail "no Python 3.11 or newer on PATH: install one, or name it: make up PYTHON=/path/to/python"
}

wheels_wanted() {
    cat "$root/requirements.lock" "$root/pyproject.toml" <(echo "$root") | sha256sum
}

install_wheels() {
    [[ -f "$stamp" && "$(<"$stamp")" == "$(wheels_wanted)" ]] && return
    local started=$SECONDS python
    echo "[1/$steps] Python packages ... (first time: about 30 s)"
    if ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
        python=$(find_python)
        "$python" -m venv --clear "$venv" ||
            fail "$python makes no virtual environment (on Debian: apt-get install python3-venv)"
    fi
    local pip=("$venv/bin/python" -m pip --disable-pip-version-check install --quiet)
    "${pip[@]}" --require-hashes -r "$root/requirements.lock" ||
        fail "the packages of requirements.lock cannot be installed; pip's own words stand above"
    # The build backend is in the lock, so nothing unpinned is fetched for it.
    "${pip[@]}" --no-deps --no-build-isolation --editable "$root"
    wheels_wanted >"$stamp"
    echo "[1/$steps] Python packages installed in $((SECONDS - started)) s"
}

has_compiler() {
    command -v "${CC:-cc}" >/dev/null && command -v make >/dev/null
}

ensure_compiler() {
    has_compiler && return
    # Whoever names a compiler by CC wants that one, and no other.
    if [[ $EUID -eq 0 && -z ${CC:-} ]] && command -v apt-get >/dev/null; then
        echo "[2/$steps] installing a C compiler ..."
        if ! { apt-get update -qq && apt-get install -y -qq gcc libc6-dev make >/dev/null; }; then
            fail "apt-get installs no gcc, libc6-dev and make; its own words stand above"
        fi
    fi
    has_compiler ||
        fail "no C compiler (${CC:-cc}) or no make: install gcc, make and the C library's headers"
}

build_c() {
    ensure_compiler
    make --question -C "$root/c" >/dev/null 2>&1 && return
    local started=$SECONDS
    echo "[2/$steps] C libraries ..."
    make --silent -C "$root/c" || fail "the C libraries do not build"
    echo "[2/$steps] C libraries built in $((SECONDS - started)) s"
}

main() {
    # The lock is on the checkout's own directory: no file to leave behind.
    exec 9<"$root"
    flock 9
    install_wheels
    build_c
    "$venv/bin/python" -m hcs_edge.local.programs 3 "$steps"
}

main
