#!/usr/bin/env bash
# Runs Autobahn|Testsuite against the server and the client.
#
#     scripts/autobahn.sh [--quick] [--server-only | --client-only] [--takeover] [--cases 'PATTERN,...']
#
#   --quick         framing, UTF-8 and closing only: groups 1 to 7 and 10, about ten seconds
#   --server-only   only the server, against the suite's client
#   --client-only   only the client, against the suite's server
#   --takeover      compression keeps its window between messages; by default it does not
#   --cases         only these cases, such as '9.*,12.1.1'
#
# Without arguments it runs all 517 cases for both, about a quarter of an hour on two cores. The suite needs Python 2.7: an
# installed one, or else that of the last Debian release that had it, unpacked. Python and the suite are installed below
# target/autobahn, the first time only. Reports are in target/autobahn/results, also as HTML pages. Everything stays on
# 127.0.0.1, on free ports. The last line is `N passed, N failed`; the exit code is 0 only if every case is OK or
# informational.
set -euo pipefail

patterns='*' known=517 roles=(server client) time_limit=2400 takeover=

die() {
    printf 'autobahn.sh: %s\n' "$*" >&2
    exit 2
}

while (($#)); do
    case $1 in
    --quick) patterns='1.*,2.*,3.*,4.*,5.*,6.*,7.*,10.*' known=247 time_limit=120; shift ;;
    --server-only) roles=(server); shift ;;
    --client-only) roles=(client); shift ;;
    --takeover) takeover=takeover; shift ;;
    --cases) (($# > 1)) || die '--cases needs patterns'; patterns=$2 known=0; shift 2 ;;
    -h | --help) sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "$0"; exit 0 ;;
    *) die "unknown argument '$1': expected --quick, --server-only, --client-only, --takeover or --cases 'PATTERN,...'" ;;
    esac
done
cd "$(dirname "$0")/.."

here=src/tests/autobahn
suite=$PWD/target/autobahn
results=$suite/results
built=${CARGO_TARGET_DIR:-target}/release
# The suite sends messages of 16 MiB, and one in 65,537 fragments, the last of them empty; and short ones that it wants to
# see compressed.
server_flags=(--max-message-bytes 16777216 --max-queued-bytes 16777216 --max-fragments 65537 --compression --compression-min-bytes 1)
[[ -z $takeover ]] || server_flags+=(--compression-takeover)

# The last release of Debian with Python 2.7 is bullseye: its packages, unpacked, from wherever this machine has its own.
debian_root=$suite/python2.7
debian_libraries=(libpython2.7-minimal libpython2.7-stdlib libpython2.7-dev libssl1.1 libffi7)

unpack_debian_python() {
    local apt=$suite/apt release mirror keyring
    release=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
    mirror=$(apt-get indextargets --format '$(RELEASE) $(COMPONENT) $(REPO_URI)' 'Created-By: Packages' |
        awk -v release="$release" '$1 == release && $2 == "main" { print $3; exit }') || true
    [[ -n $mirror ]] || die 'Python 2.7 is not installed, and apt has no Debian mirror to get it from'
    for keyring in /usr/share/keyrings/debian-archive-keyring.{gpg,pgp}; do
        [[ ! -e $keyring ]] || break
    done
    rm -rf "$apt" "$debian_root"
    mkdir -p "$apt/lists/partial" "$apt/archives/partial" "$debian_root"
    echo "deb [signed-by=$keyring] $mirror bullseye main" >"$apt/sources.list"
    local options=(-qq -o "Dir::Etc::SourceList=$apt/sources.list" -o Dir::Etc::SourceParts=/dev/null
        -o "Dir::State::Lists=$apt/lists" -o "Dir::Cache=$apt" -o Dir::State::status=/dev/null)
    # apt's sandbox user may not own the downloads here.
    options+=(-o "APT::Sandbox::User=$(id -un)")
    apt-get "${options[@]}" update >&2
    (cd "$apt/archives" && apt-get "${options[@]}" download python2.7-minimal "${debian_libraries[@]}" >&2)
    for package in "$apt"/archives/*.deb; do
        dpkg-deb -x "$package" "$debian_root"
    done
    rm -rf "$apt"
}

# Adds the unpacked libraries and headers to the search paths, if there are any.
use_debian_root() {
    local libraries=("$debian_root"/usr/lib/*-linux-gnu)
    [[ -d ${libraries[0]} ]] || return 0
    export LD_LIBRARY_PATH=${libraries[0]}${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
    export CPATH=$debian_root/usr/include/python2.7:$debian_root/usr/include${CPATH:+:$CPATH}
}

# Checks for Python 2.7 with TLS, which the suite imports, and with headers, since one package is compiled.
is_python2() {
    "$1" -c 'import ctypes, os, ssl, sys, sysconfig
sys.exit(sys.version_info[:2] != (2, 7) or not os.path.exists(sysconfig.get_paths()["include"] + "/Python.h"))' \
        2>/dev/null
}

find_python2() {
    local python
    for python in python2.7 "${PYENV_ROOT:-${HOME:-}/.pyenv}"/versions/2.7*/bin/python2.7; do
        if is_python2 "$python"; then
            python2=$(command -v "$python")
            return
        fi
    done
    unpack_debian_python
    use_debian_root
    python2=$debian_root/usr/bin/python2.7
    is_python2 "$python2" || die 'the unpacked Python 2.7 does not run here'
}

# The list of packages is copied last: if the copy is missing or old, the installation is not complete.
install_suite() {
    use_debian_root
    if cmp -s "$here/requirements.txt" "$suite/env/requirements.txt" && "$suite/env/bin/python" -c ''; then
        return
    fi
    echo 'installing Autobahn|Testsuite below target/autobahn' >&2
    mkdir -p "$suite"
    find_python2
    if ! python3 -c 'import ensurepip, venv' 2>/dev/null; then
        local as_root=()
        ((EUID == 0)) || as_root=(sudo)
        "${as_root[@]}" apt-get -qq update >&2
        "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends python3-venv >&2
    fi
    # The last version that supports Python 2.7.
    python3 -m venv --clear "$suite/virtualenv"
    "$suite/virtualenv/bin/pip" install --quiet --disable-pip-version-check virtualenv==20.21.1
    "$suite/virtualenv/bin/virtualenv" --quiet --clear --python "$python2" "$suite/env"
    PYTHONWARNINGS=ignore "$suite/env/bin/python" -m pip install --quiet --no-python-version-warning \
        --disable-pip-version-check --no-deps --requirement "$here/requirements.txt" >&2
    cp "$here/requirements.txt" "$suite/env/requirements.txt"
}

# Running programs, by process id.
declare -A running=()

stop_all() {
    trap - EXIT INT TERM HUP
    local pid
    for pid in "${!running[@]}"; do
        kill "$pid" 2>/dev/null || true
    done
    for pid in "${!running[@]}"; do
        wait "$pid" 2>/dev/null || true
    done
}
trap stop_all EXIT
trap 'stop_all; exit 130' INT
trap 'stop_all; exit 143' TERM HUP

# Starts a program with a time limit; its output goes to a file.
start() {
    local log=$1
    shift
    timeout --kill-after=10 "$time_limit" "$@" >"$log" 2>&1 </dev/null &
    started=$!
    running[$started]=1
}

# Waits until the program that was just started has printed a line that matches.
until_said() {
    local log=$1 what=$2
    until grep -q "$what" "$log"; do
        kill -0 "$started" 2>/dev/null || { cat "$log" >&2; die "the program ended without printing '$what': $log"; }
        sleep 0.05
    done
}

launcher=("$suite/env/bin/python" -B -u "$here/launcher.py")

begin_server_group() {
    local folder=$1
    if [[ -z ${server_port:-} ]]; then
        start "$results/server.log" "$built/steadfast" serve --listen 127.0.0.1:0 "${server_flags[@]}"
        until_said "$results/server.log" '^ready$'
        server_port=$(sed -n 's/^listening on 127\.0\.0\.1:\([0-9]*\) .*/\1/p' "$results/server.log")
    fi
    start "$folder/log" "${launcher[@]}" client "ws://127.0.0.1:$server_port/echo" steadfast "$folder"
}

begin_client_group() {
    local folder=$1 port
    start "$folder/fuzzing.log" "${launcher[@]}" server "$folder"
    until_said "$folder/fuzzing.log" '^listening on port'
    port=$(sed -n 's/^listening on port //p' "$folder/fuzzing.log")
    start "$folder/log" "$built/examples/autobahn_client" "127.0.0.1:$port" steadfast ${takeover:+takeover}
}

# Runs groups in parallel; each is a role, a name and a grep pattern for its case ids.
round() {
    local group role name ids folder pid code
    local -A folders=()
    for group in "$@"; do
        read -r role name ids <<<"$group"
        folder=$results/$role/$name
        mkdir -p "$folder"
        grep -E "$ids" "$results/selected" >"$folder/selected" || { rm -r "$folder"; continue; }
        "begin_${role}_group" "$folder"
        folders[$started]=$folder
    done
    for pid in "${!folders[@]}"; do
        code=0
        wait "$pid" || code=$?
        unset "running[$pid]"
        echo "$code" >"${folders[$pid]}/ended"
    done
}

cargo build --release --quiet --bins --examples
install_suite

rm -rf "$results"
mkdir -p "$results"
read -ra list <<<"${patterns//,/ }"
"${launcher[@]}" list "${list[@]}" >"$results/selected"

# The suite uses one core at most, and waits a lot without compression: run both roles in parallel, and then the two long
# groups of each.
round "${roles[@]/%/ plain ^([1-9]|10)\\.}"
for role in "${roles[@]}"; do
    round "$role 12 ^12\\." "$role 13 ^13\\."
done

python3 -B "$here/judge.py" "$results" "$known" "${roles[@]}"
