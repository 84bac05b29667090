#!/bin/sh
# Builds and runs raftring-perf.
#
#   perf/run.sh                        the floor and the standard loads, one round
#   perf/run.sh --quick                a look, within three minutes after the build
#   perf/run.sh --rivals               against etcd's rafthttp in Go: five rounds, in turns
#   perf/run.sh compare --suite full   every load; flags as in `perf/run.sh compare --help`
#   perf/run.sh push|rtt|floor ...     one run of your own
#   perf/run.sh snapshot               a database of 4 GiB, its memory, and heartbeats beside it
#   perf/run.sh black-hole             what one dead follower does to seven others
#   perf/run.sh servers                three raft servers of examples/ against three etcd members
#
# Files (JSON, .hgrm) go to perf/results, which git ignores.
set -eu

cd "$(dirname "$0")/.."
# The rival is built from its own folder, so the path must be absolute.
target=${CARGO_TARGET_DIR:-$PWD/target}
program=$target/release/raftring-perf
rival=$target/go-rafthttp
results=perf/results

# Builds the rival if it can; says so if it cannot. Sets $rival_flags.
build_rival() {
    rival_flags=
    if ! command -v go >/dev/null 2>&1; then
        echo "run.sh: no Go here, so the rival go-rafthttp is SKIPPED: install Go to compare" >&2
    elif ! (cd perf/rivals/go-rafthttp && go build -trimpath -o "$rival" .); then
        echo "run.sh: the rival go-rafthttp did not build, so it is SKIPPED: see the error above" >&2
    else
        rival_flags="--rival $rival"
    fi
}

# The writes of clients: whole servers, and a load of its own. Flags as in `go-writes --help`.
compare_servers() {
    if ! command -v go >/dev/null 2>&1; then
        echo "run.sh: no Go here, and the load on servers is written in it: install Go to compare" >&2
        exit 1
    fi
    cargo build --release --package raft_server
    (cd perf/rivals/go-writes && go build -trimpath -o "$target/go-writes" .)
    set -- --http "raftring=$target/release/raft_server" --dir "$target/go-writes-data" "$@"
    if (cd perf/rivals/go-writes && go build -trimpath -o "$target/etcd-3.6" go.etcd.io/etcd/server/v3); then
        set -- --etcd "etcd-3.6=$target/etcd-3.6" "$@"
    else
        echo "run.sh: etcd 3.6 did not build, so it is SKIPPED: see the error above" >&2
    fi
    if command -v etcd >/dev/null 2>&1; then
        set -- --etcd "etcd-$(etcd --version | sed -n 's/^etcd Version: //p')=etcd" "$@"
    else
        echo "run.sh: no etcd is installed, so it is SKIPPED (Debian: apt-get install etcd-server)" >&2
    fi
    exec "$target/go-writes" "$@"
}

if [ "${1-}" = servers ]; then
    shift
    compare_servers "$@"
fi

cargo build --release --package raftring-perf

case ${1-} in
"")
    exec "$program" compare --suite standard --rounds 1 --results "$results"
    ;;
--quick)
    shift
    build_rival
    # Three rounds with a rival fit into the time, and one alone is enough to see that all works.
    rounds=1
    [ -z "$rival_flags" ] || rounds=3
    # shellcheck disable=SC2086 # the flags are words
    exec "$program" compare --suite quick --rounds "$rounds" --results "$results" $rival_flags "$@"
    ;;
--rivals)
    shift
    build_rival
    # shellcheck disable=SC2086
    exec "$program" compare --suite standard --rounds 5 --results "$results" $rival_flags "$@"
    ;;
push | rtt | floor)
    # Given again by the caller, a flag would be refused; so these defaults yield.
    files=
    case " $* " in *" --json"*) ;; *) files="--json $results/$1.json" ;; esac
    case " $* " in *" --hgrm"*) ;; *) files="$files --hgrm $results" ;; esac
    # shellcheck disable=SC2086
    exec "$program" "$@" $files
    ;;
*)
    exec "$program" "$@"
    ;;
esac
