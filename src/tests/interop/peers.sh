# Gets the peers that come from package registries, when they are not there or others are asked for. Sourced, never run:
# `peers_dir` is the folder of this file, and `peers_target` where they go.

# The copies come last: where one is missing or old, the step before it has not been done.
install_python() {
    cmp -s "$peers_dir/requirements.txt" "$peers_target/venv/requirements.txt" && return
    python3 -m venv --clear "$peers_target/venv"
    "$peers_target/venv/bin/pip" install --quiet --disable-pip-version-check \
        --requirement "$peers_dir/requirements.txt" >&2
    cp "$peers_dir/requirements.txt" "$peers_target/venv/requirements.txt"
}

install_node() {
    cmp -s "$peers_dir/package.json" "$peers_target/node/installed.json" && return
    rm -rf "$peers_target/node"
    mkdir -p "$peers_target/node"
    cp "$peers_dir/package.json" "$peers_target/node/package.json"
    (cd "$peers_target/node" &&
        npm install --loglevel=error --no-audit --no-fund --no-package-lock --ignore-scripts >&2)
    cp "$peers_dir/package.json" "$peers_target/node/installed.json"
}
