#!/usr/bin/env bash
# Installs the named tools where they are missing: uv into .cache/tools (a virtual environment), nextest and deny by cargo, and by
# apt PostgreSQL's server programs, Prometheus, Chromium, Node.js and the proxies that a benchmark needs. What is there already is used as it is.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { echo "tools: $*" >&2; }

install_uv() {
    command -v uv >/dev/null && return
    say "installing uv into .cache/tools"
    python3 -m venv .cache/tools || {
        say "python3 has no venv module; install it (Debian: apt install python3-venv) or install uv"
        exit 1
    }
    .cache/tools/bin/pip install --quiet --disable-pip-version-check uv
}

install_nextest() {
    cargo nextest --version >/dev/null 2>&1 && return
    say "installing cargo-nextest (some minutes)"
    cargo install --locked cargo-nextest
}

install_deny() {
    command -v cargo-deny >/dev/null && return
    say "installing cargo-deny (some minutes)"
    cargo install --locked cargo-deny
}

# Debian keeps the server's programs outside PATH.
has_postgresql() { command -v initdb >/dev/null || compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null; }

install_postgresql() {
    has_postgresql && return
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        say "the tests need PostgreSQL's server programs (initdb, postgres); install them (Debian: apt install postgresql)"
        exit 1
    fi
    say "installing postgresql"
    # No cluster of the machine's own: the tests start servers of their own.
    mkdir -p /etc/postgresql-common
    [ -e /etc/postgresql-common/createcluster.conf ] ||
        echo 'create_main_cluster = false' >/etc/postgresql-common/createcluster.conf
    apt_install postgresql
}

# A test lets it read what the server counts. Nothing of the machine's own is started.
install_prometheus() {
    command -v prometheus >/dev/null && command -v promtool >/dev/null && return
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        say "the tests need Prometheus (prometheus, promtool); install it (Debian: apt install prometheus)"
        exit 1
    fi
    say "installing prometheus"
    apt_install prometheus
}

# Builds the dashboard. The packages it takes from npm need no newer Node.js than 18.
install_node() {
    command -v npm >/dev/null && node -e 'process.exit(parseInt(process.versions.node) < 18 ? 1 : 0)' && return
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        say "the dashboard needs Node.js 18 or newer with npm; install them (Debian: apt install nodejs npm)"
        exit 1
    fi
    say "installing nodejs and npm"
    apt_install nodejs npm
}

# The dashboard's tests look at its pages in it.
install_chromium() {
    command -v chromium >/dev/null && return
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        say "the dashboard's tests need Chromium; install it (Debian: apt install chromium)"
        exit 1
    fi
    say "installing chromium"
    apt_install chromium fonts-dejavu-core
}

# What the gateway is measured beside, and the load generator for HTTP/2.
install_proxies() {
    command -v nginx >/dev/null && command -v haproxy >/dev/null && command -v h2load >/dev/null && return
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        say "the benchmark needs nginx, haproxy and h2load; install them (Debian: apt install nginx-light haproxy nghttp2-client)"
        exit 1
    fi
    say "installing nginx, haproxy and h2load"
    apt_install nginx-light haproxy nghttp2-client
}

apt_install() {
    apt-get update --quiet --quiet
    DEBIAN_FRONTEND=noninteractive apt-get install --quiet --quiet --yes --no-install-recommends "$@" >/dev/null
}

for tool in "$@"; do
    "install_$tool"
done
