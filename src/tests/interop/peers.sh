# Installs the peers from package registries if they are missing or other versions are required. Sourced, not run:
# `peers_dir` is the folder of this file, and `peers_target` where they go.

# The lists are copied last: if a copy is missing or old, that step has not completed.
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
