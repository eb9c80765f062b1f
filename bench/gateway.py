"""Measures the gateway beside nginx and haproxy as plain keep-alive reverse proxies, all to one upstream in one run.

The upstream is a bare HTTP server, over TCP or a Unix socket, or a replica of Greenroom with a model that does nothing.

Each proxy has core 0 to itself while it is measured; the upstream and the load generator share core 1. Rounds alternate, and the
median round counts. The gateway does all that it does in the product: checks a key, divides an environment's traffic, counts
slots. Besides rates, the processor time a request costs is printed (user and system time of the proxy's processes over the
requests of a round), which other work on the machine blurs less. HTTP/2 is measured with h2load. `make bench-gateway` runs it.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from peers import PIN, Greenroom, free_port

ROOT = Path(__file__).resolve().parent.parent
KEY = "bench.bench-secret"
CORE_1 = ["taskset", "-c", "1"]
TICKS = os.sysconf("SC_CLK_TCK")

NGINX = """
worker_processes 1;
daemon off;
master_process off;
pid {scratch}/nginx.pid;
error_log {scratch}/nginx.log;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    client_body_temp_path {scratch}/nginx-body;
    proxy_temp_path {scratch}/nginx-proxy;
    fastcgi_temp_path {scratch}/nginx-fastcgi;
    uwsgi_temp_path {scratch}/nginx-uwsgi;
    scgi_temp_path {scratch}/nginx-scgi;
    client_body_buffer_size 1m;
    client_max_body_size 100m;
    keepalive_requests 1000000000;
    upstream behind {{ server {upstream}; keepalive 256; keepalive_requests 1000000000; }}
    server {{
        listen 127.0.0.1:{port}{http2} reuseport;
        location / {{ proxy_pass http://behind; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_hide_header Upgrade; }}
    }}
}}
"""

HAPROXY = """
global
    nbthread 1
    maxconn 4096
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    http-reuse always
frontend front
    bind 127.0.0.1:{port}{http2}
    default_backend behind
backend behind
    server upstream {upstream}
"""


class Case:
    """One load shape: always 64 requests at once."""

    def __init__(self, name: str, body: str, upstream: str = "tcp", http2: bool = False):
        self.name, self.body, self.upstream, self.http2 = name, body, upstream, http2
        self.method = "POST" if body else "GET"


SMALL, LARGE = (json.dumps({"text": "x" * length}) for length in (1000, 256_000))
CASES = [
    Case("GET without a body", ""),
    Case("1 kB JSON", SMALL),
    Case("1 kB JSON, upstream on a Unix socket", SMALL, "unix"),
    Case("1 kB JSON, upstream is a replica", SMALL, "replica"),
    Case("256 kB JSON", LARGE),
    Case("256 kB JSON, upstream is a replica", LARGE, "replica"),
    Case("1 kB JSON over HTTP/2, 4 connections of 16 streams", SMALL, http2=True),
    Case("1 kB JSON over HTTP/2, 4 connections of 16 streams, upstream is a replica", SMALL, "replica", http2=True),
]


class Upstream:
    """A bare server for all proxies to stand in front of."""

    def __init__(self, binaries: Path, scratch: Path, replica: str, options: list[str] = []):
        tcp, unix = f"127.0.0.1:{free_port()}", scratch / "upstream.sock"
        self.targets = {"tcp": tcp, "unix": f"unix:{unix}", "replica": replica}
        self.process = subprocess.Popen(CORE_1 + [str(binaries / "bench-upstream"), "--tcp", tcp, "--unix", str(unix)] + options)


class Proxy:
    """One of them, for one case."""

    def __init__(self, name: str, command: list[str], port: int, method: str):
        self.name, self.target, self.path = name, f"127.0.0.1:{port}", "/v1/models/model:predict"
        self.process = subprocess.Popen(PIN + command, stdout=subprocess.PIPE, text=True)
        if name == "greenroom":
            self.path = self.process.stdout.readline().strip() + ("/predict" if method == "POST" else "/sync/v1")

    def cpu_s(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(10)


def proxies(case: Case, binaries: Path, upstream: Upstream, scratch: Path) -> list[Proxy]:
    ports = [free_port() for _ in range(3)]
    nginx, haproxy = scratch / "nginx.conf", scratch / "haproxy.cfg"
    behind = upstream.targets[case.upstream]
    nginx.write_text(NGINX.format(scratch=scratch, upstream=behind, port=ports[0], http2=" http2" if case.http2 else ""))
    haproxy.write_text(HAPROXY.format(upstream=behind.replace("unix:", "unix@"), port=ports[1], http2=" proto h2" if case.http2 else ""))
    ours = [str(binaries / "bench-gateway"), "--listen", f"127.0.0.1:{ports[2]}", "--upstream", behind, "--key", KEY]
    made = [
        Proxy("nginx", ["nginx", "-c", str(nginx), "-e", str(scratch / "nginx.log")], ports[0], case.method),
        Proxy("haproxy", ["haproxy", "-db", "-q", "-f", str(haproxy)], ports[1], case.method),
        Proxy("greenroom", ours, ports[2], case.method),
    ]
    time.sleep(0.5)
    return made


def measure(proxy: Proxy, case: Case, binaries: Path, seconds: float, scratch: Path, connections: int = 64) -> dict:
    body = scratch / "body.json"
    body.write_text(case.body)
    before = proxy.cpu_s()
    seen = h2load(proxy, case, body, seconds) if case.http2 else loadgen(proxy, case, body, binaries, seconds, connections)
    if seen["not_ok"]:
        sys.exit(f"{proxy.name}, {case.name}: {seen['not_ok']} answers were not 200")
    return seen | {"cpu_us": (proxy.cpu_s() - before) * 1e6 / seen["all"]}


def loadgen(proxy: Proxy, case: Case, body: Path, binaries: Path, seconds: float, connections: int) -> dict:
    command = [str(binaries / "loadgen"), proxy.target, "--path", proxy.path, "--method", case.method, "--body", str(body)]
    command += ["--connections", str(connections), "--seconds", str(seconds), "--warm-up-seconds", "0"]
    command += ["--header", f"authorization: Api-Key {KEY}"]
    seen = json.loads(subprocess.run(CORE_1 + command, check=True, capture_output=True, text=True).stdout)
    return seen | {"all": seen["requests"]}


def h2load(proxy: Proxy, case: Case, body: Path, seconds: float) -> dict:
    """Reads h2load's summary; it prints no percentiles, so each request's time is taken from its log."""
    log = body.with_suffix(".log")
    log.unlink(missing_ok=True)
    command = ["h2load", f"http://{proxy.target}{proxy.path}", "-c", "4", "-m", "16", "-D", str(int(seconds)), "-d", str(body)]
    command += ["-H", f"authorization: Api-Key {KEY}", "-H", "content-type: application/json", f"--log-file={log}"]
    out = subprocess.run(CORE_1 + command, check=True, capture_output=True, text=True).stdout
    done = re.search(r"requests: .* (\d+) succeeded, (\d+) failed", out)
    rate = re.search(r"finished in [^,]+, ([\d.]+) req/s", out)
    if not done or not rate:
        sys.exit(f"h2load said something unexpected:\n{out}")
    micros = sorted(int(line.split("\t")[2]) for line in log.read_text().splitlines())
    at = [micros[int((len(micros) - 1) * share)] / 1000 for share in (0.5, 0.99)]
    return {"requests_per_second": float(rate[1]), "p50_ms": at[0], "p99_ms": at[1], "not_ok": int(done[2]), "all": int(done[1])}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--target-dir", type=Path, default=ROOT / "target" / "release")
    parser.add_argument("--only", help="only cases whose name contains this")
    options = parser.parse_args()
    scratch = Path(tempfile.mkdtemp(prefix="bench-"))
    with Greenroom(options.target_dir, CORE_1) as greenroom:
        upstream = Upstream(options.target_dir, scratch, greenroom.replica().target)
        try:
            for case in CASES:
                if not options.only or options.only in case.name:
                    run(case, options, upstream, scratch)
        finally:
            upstream.process.kill()
            shutil.rmtree(scratch, ignore_errors=True)


def run(case: Case, options: argparse.Namespace, upstream: Upstream, scratch: Path) -> None:
    made = proxies(case, options.target_dir, upstream, scratch)
    rounds: dict[str, list[dict]] = {proxy.name: [] for proxy in made}
    try:
        for proxy in made:
            measure(proxy, case, options.target_dir, 1, scratch)
        for _ in range(options.rounds):
            for proxy in made:
                rounds[proxy.name].append(measure(proxy, case, options.target_dir, options.seconds, scratch))
    finally:
        for proxy in made:
            proxy.stop()

    def median(name: str, key: str) -> float:
        return statistics.median(seen[key] for seen in rounds[name])

    print(f"### {case.name}\n\n| | requests/s | × nginx | p50 ms | p99 ms | µs of the core a request | × nginx |\n|---|---|---|---|---|---|---|")
    for name in rounds:
        rate, cpu = median(name, "requests_per_second"), median(name, "cpu_us")
        print(
            f"| {name} | {rate:,.0f} | {rate / median('nginx', 'requests_per_second'):.2f} | {median(name, 'p50_ms'):.2f} "
            f"| {median(name, 'p99_ms'):.2f} | {cpu:.1f} | {cpu / median('nginx', 'cpu_us'):.2f} |"
        )
    print(flush=True)


if __name__ == "__main__":
    main()
