#!/usr/bin/env bash
# Holds 50,000 connections with every kind of traffic at once for MINUTES, and fails if anything keeps growing or a healthy
# connection is lost.
#
#     scripts/soak.sh [MINUTES] [--connections N] [--csv FILE]
#
#   MINUTES          time after all connections are open (60); at least 3 for meaningful figures
#   --connections N  connections (50000); the traffic is in proportion
#   --csv FILE       file for the samples (target/soak/samples.csv)
#
# Traffic: echo, plain and compressed; keep-alive GETs; push, to normal and slow readers; storms; short-lived connections;
# and from scripts/soak/peers.py broadcast, chat, long polls, a unix socket, files and uploads, some of them slow; garbage,
# partial heads, partial messages, bad frames, resets, and peers that never read.
#
# It fails with the reason if user memory (RssAnon), kernel memory (TCP buffers, slab), sockets, descriptors, queued messages or
# another gauge of /stats rises over the second half of the samples by more than 2 % and a fixed slack; if in any sample the
# messages out are not those delivered, dropped and queued; if a healthy connection is lost, receives wrong data or waits
# for a minute; or if something is left when all connections have ended. Slab (without file caches, if run as root) and TCP
# memory are those of the host: other programs with sockets affect them.
# It takes about one core of two, and two minutes longer than MINUTES. The last line is `flat`, or says what is not; the
# exit code is 0 only if all is flat.
set -uo pipefail

minutes=60 connections=50000 csv=''

die() {
    printf 'soak.sh: %s\n' "$*" >&2
    exit 2
}

is_number() {
    [[ $1 =~ ^[1-9][0-9]{0,6}$ ]]
}

while (($#)); do
    case $1 in
    --connections) is_number "${2:-}" || die '--connections needs a number'; connections=$2; shift 2 ;;
    --csv) csv=$(realpath -m -- "${2:?a file}"); shift 2 ;;
    -h | --help) sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "$0"; exit 0 ;;
    *) is_number "$1" || die "unknown argument '$1': see --help"; minutes=$1; shift ;;
    esac
done
cd "$(dirname "$0")/.." || exit 2
command -v python3 >/dev/null || die 'no python3: on Debian, apt-get install python3'
cargo build --release --quiet || die 'the release build fails'
target=$(realpath -m -- "${CARGO_TARGET_DIR:-target}")
work=$(mktemp -d) || exit 2
mkdir -p "$target/soak"

child=
trap 'rm -rf "$work"' EXIT
trap '[[ -z $child ]] || kill "$child" 2>/dev/null' INT TERM
python3 -B scripts/soak/watch.py "$target/release/steadfast" "$minutes" "$connections" "${csv:-$target/soak/samples.csv}" "$work" &
child=$!
# A signal ends wait(1), not the child, which reports how it ended.
wait "$child"
status=$?
while kill -0 "$child" 2>/dev/null; do
    wait "$child"
    status=$?
done
exit "$status"
