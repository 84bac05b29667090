#!/usr/bin/env bash
# Checks everything: format, lints, documentation, the build without a runtime, all tests.
#
#   tests/run.sh                                   what every change must pass
#   RAFTRING_FUZZ=1 tests/run.sh                   and each fuzz target for 60 s
#     RAFTRING_FUZZ_SECONDS=600                      ... or for so long
#   RAFTRING_SOAK_SECONDS=600 tests/run.sh         the soak for so long, not for 20 s
#   RAFTRING_REQUIRE_ETCD=1 tests/run.sh           tests against etcd must not be skipped
#
# What is missing on a Debian machine is installed where that is allowed, and what is left out is
# said aloud. The last line sums up all tests; the exit status is 0 if every step passed.
set -uo pipefail

cd "$(dirname "$0")/.."
log=$(mktemp)
trap 'rm -f "$log"' EXIT
failed=()
skipped=()

skip() {
    echo "run.sh: SKIPPED: $1" >&2
    skipped+=("$1")
}

# step <what> <command...>: runs it, keeps its output for the sum, goes on after a failure.
step() {
    local what=$1 began=$SECONDS
    shift
    echo
    echo "== $what: $*"
    if "$@" 2>&1 | tee -a "$log"; then
        echo "-- $what: passed in $((SECONDS - began)) s"
    else
        echo "-- $what: FAILED after $((SECONDS - began)) s"
        failed+=("$what")
    fi
}

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
        sudo "$@"
    else
        return 1
    fi
}

# Real etcd members for the tests against them.
install_etcd() {
    if command -v etcd >/dev/null && command -v etcdctl >/dev/null; then
        return
    fi
    if command -v apt-get >/dev/null; then
        local install=(env DEBIAN_FRONTEND=noninteractive apt-get install -y etcd-server etcd-client)
        echo "== installing etcd-server and etcd-client"
        as_root "${install[@]}" >/dev/null 2>&1 || {
            as_root apt-get update >/dev/null 2>&1
            as_root "${install[@]}" >/dev/null 2>&1
        }
    fi
    if ! command -v etcd >/dev/null; then
        skip "tests against etcd: it is not installed (Debian: apt-get install etcd-server etcd-client)"
    fi
}

# The compiler that the build of raft-rs's messages asks for.
install_protoc() {
    if command -v protoc >/dev/null; then
        return
    fi
    if command -v apt-get >/dev/null; then
        local install=(env DEBIAN_FRONTEND=noninteractive apt-get install -y protobuf-compiler)
        echo "== installing protobuf-compiler"
        as_root "${install[@]}" >/dev/null 2>&1 || {
            as_root apt-get update >/dev/null 2>&1
            as_root "${install[@]}" >/dev/null 2>&1
        }
    fi
    command -v protoc >/dev/null
}

# The parts of the Rust toolchain that a minimal one lacks.
component() {
    local name=$1 command=$2
    cargo "$command" --version >/dev/null 2>&1 && return
    echo "== adding $name"
    rustup component add "$name" >/dev/null 2>&1
    cargo "$command" --version >/dev/null 2>&1 && return
    skip "$name: not in this toolchain, and 'rustup component add $name' did not help"
    return 1
}

fuzz() {
    local seconds=${RAFTRING_FUZZ_SECONDS:-60}
    if ! cargo +nightly --version >/dev/null 2>&1; then
        skip "fuzzing: no nightly compiler (rustup toolchain install nightly)"
        return
    fi
    if ! cargo +nightly fuzz --version >/dev/null 2>&1 && ! cargo +nightly install cargo-fuzz --locked; then
        skip "fuzzing: no cargo-fuzz (cargo install cargo-fuzz)"
        return
    fi
    local file target
    for file in tests/fuzz/fuzz_targets/*.rs; do
        target=$(basename "$file" .rs)
        # What is found goes beside the build; the committed corpus is where it starts from.
        mkdir -p "target/fuzz-corpus/$target"
        step "fuzz $target" cargo +nightly fuzz run --fuzz-dir tests/fuzz "$target" \
            "target/fuzz-corpus/$target" "tests/fuzz/corpus/$target" -- \
            -max_total_time="$seconds" -verbosity=0 -print_final_stats=1
    done
}

if ! command -v cargo >/dev/null; then
    echo "run.sh: no cargo here: install Rust 1.88 or newer, see https://rustup.rs" >&2
    exit 1
fi
export CARGO_TERM_COLOR=${CARGO_TERM_COLOR:-never}
install_etcd
# Everything of ours, with every feature.
everything=(--workspace --all-features)
# Those that end by themselves, with the features they want.
examples=("two_members" "three_nodes --features raft-rs")
if ! install_protoc; then
    skip "the feature raft-rs and examples/raft_server: no protoc (Debian: apt-get install protobuf-compiler)"
    everything=(--workspace --exclude raft_server --features "io test-support prometheus")
    examples=("two_members")
fi

component rustfmt fmt && step "format" cargo fmt --all --check
component clippy clippy &&
    step "lints" cargo clippy "${everything[@]}" --all-targets --locked -- -D warnings
step "documentation" env RUSTDOCFLAGS="-D warnings" cargo doc "${everything[@]}" --no-deps --locked
step "protocol without a runtime" cargo check --no-default-features --locked
# Debug builds simulate 1,000 seeds with their assertions on, optimised ones 10,000.
step "simulator, all seeds" cargo test --release --no-default-features --features test-support --locked \
    --test sim -- --nocapture
# Another configuration of every crate: it is built beside the others, and not linked in haste.
step "models of the crossing" env RUSTFLAGS="--cfg loom" CARGO_PROFILE_RELEASE_LTO=off \
    cargo test --release --no-default-features --locked --lib --target-dir target/loom models::
step "tests" cargo test "${everything[@]}" --locked --no-fail-fast
for example in "${examples[@]}"; do
    # shellcheck disable=SC2086
    step "example ${example%% *}" timeout 900 cargo run --locked --example $example
done
step "benchmarks, briefly" cargo test "${everything[@]}" --locked --bench '*'
if command -v cargo-deny >/dev/null; then
    step "dependencies" cargo deny check
else
    skip "cargo-deny: not installed; tests/tidy checks the pins of deny.toml all the same"
fi
if [ "${RAFTRING_FUZZ:-0}" = 1 ]; then
    fuzz
fi

echo
for what in ${skipped[@]+"${skipped[@]}"}; do
    echo "skipped: $what"
done
for what in ${failed[@]+"${failed[@]}"}; do
    echo "FAILED: $what"
done
awk '/^test result: / { passed += $4; failed += $6 } END { printf "%d passed, %d failed\n", passed, failed }' "$log"
[ ${#failed[@]} = 0 ]
