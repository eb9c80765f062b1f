#!/usr/bin/env bash
# The main job, end to end: starts a server on its embedded defaults, pushes examples/iris, and asks it for a prediction.
# Leaves the server running until Ctrl-C; DEMO_ONCE=1 stops it after the prediction. Its data stays in .greenroom/demo.
set -euo pipefail
cd "$(dirname "$0")/.."

greenroom=${GREENROOM:-target/debug/greenroom}
data=$PWD/.greenroom/demo
input='{"flowers": [[5.1, 3.5, 1.4, 0.2], [6.7, 3.0, 5.2, 2.3]]}'

# Nobody's configuration but the demo's.
unset "${!GREENROOM_@}"
export XDG_CONFIG_HOME=$data/config
mkdir -p "$data"

# Port 8000, or a free one where that is taken.
port=$(python3 - <<'PYTHON'
import socket
for port in (8000, 0):
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
        except OSError:
            continue
        print(listener.getsockname()[1])
        break
PYTHON
)
url=http://127.0.0.1:$port

# A session of its own: Ctrl-C reaches this script only, which then asks the server once.
setsid "$greenroom" serve --listen "127.0.0.1:$port" --data-dir "$data" >"$data/server.out" 2>"$data/server.log" &
server=$!
stop() {
    kill "$server" 2>/dev/null || true
    wait "$server" 2>/dev/null || true
}
trap stop EXIT
trap 'exit 130' INT TERM

for _ in $(seq 150); do
    if ! kill -0 "$server" 2>/dev/null; then
        cat "$data/server.log" >&2
        exit 1
    fi
    python3 -c "import urllib.request; urllib.request.urlopen('$url/readyz', timeout=1)" 2>/dev/null && break
    sleep 0.2
done

export GREENROOM_URL=$url
GREENROOM_API_KEY=$(cat "$data/admin-api-key")
export GREENROOM_API_KEY

echo "Pushing examples/iris to $url (the first time installs scikit-learn)"
"$greenroom" push examples/iris --environment production
echo
echo "Asking which iris these two are: $input"
"$greenroom" predict iris --data "$input"
echo
echo "Dashboard $url/ (sign in with the API key)"
echo "Server    $url"
echo "API key   $data/admin-api-key"
echo "Log       $data/server.log"
echo
echo "Ask again:"
model=$("$greenroom" status iris --json | python3 -c 'import json, sys; print(json.load(sys.stdin)["model"]["id"])')
echo "  curl $url/models/$model/production/predict \\"
echo "    -H \"Authorization: Api-Key \$(cat $data/admin-api-key)\" \\"
echo "    -d '$input'"

if [ -z "${DEMO_ONCE:-}" ]; then
    echo
    echo "The server runs until Ctrl-C."
    wait "$server"
fi
