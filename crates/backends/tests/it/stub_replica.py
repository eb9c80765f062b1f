#!/usr/bin/env python3
"""A stand-in for greenroom-replica: keeps the same files, answers the same socket, runs no model.

What it does is scripted by the spec's environment variables: STUB=exit ends it as a crashed model would, STUB=vanish kills it
before it has said anything, STUB=deaf makes it ignore every request to end; otherwise it becomes ready.
"""
import http.server
import json
import os
import signal
import socketserver
import sys
import time

os.chdir(sys.argv[1])
if sys.argv[2:] == ["standby"]:
    open("prepared", "w").close()
order = sys.stdin.read()
if not order:
    sys.exit()
folder = os.getcwd()
spec = json.load(open("spec.json"))
secrets = json.loads(order)
script = spec["environment_variables"].get("STUB", "")
sequence = 0


def write_status(phase, **exit):
    global sequence
    sequence += 1
    start = {"spawn_ms": 1, "import_ms": None, "load_ms": None}
    status = {"sequence": sequence, "phase": {"phase": phase, **exit}, "in_flight": 0, "start": start, "pid": os.getpid()}
    path = os.path.join(folder, "status.json")
    with open(path + ".new", "w") as file:
        json.dump(status, file)
    os.rename(path + ".new", path)


def write_log(message):
    line = {"timestamp_ns": time.time_ns(), "level": "INFO", "request_id": None, "message": message}
    with open(os.path.join(folder, "log.jsonl"), "a") as file:
        file.write(json.dumps(line) + "\n")


def end(kind, message):
    write_status("exited", cause={"kind": kind, **({"code": 3} if kind == "code" else {})}, message=message, detail=None)
    os._exit(0)


class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        if script == "deaf":
            time.sleep(3600)
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        write_log("asked to drain within %d ms" % body["timeout_ms"])
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()
        self.wfile.flush()
        end("stopped", "stopped")

    def do_PUT(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        write_log("told %s: %s" % (self.path, json.dumps(body)))
        self.send_response(200)
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def address_string(self):
        return "unix"

    def log_message(self, *_):
        pass


if script == "vanish":
    print("the stub has nothing to say", flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
if script == "deaf":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
write_status("starting")
write_log("program " + json.dumps(spec["program"], sort_keys=True))
write_log("secrets " + ",".join(sorted(secrets)))
write_log("variables " + ",".join(sorted(os.environ)))
if script == "exit":
    end("code", "the model's process ended with code 3")
server = socketserver.ThreadingUnixStreamServer("replica.sock", Handler)
write_status("ready")
write_log("ready")
server.timeout = 0.5
while os.path.exists(folder):  # a test that ends takes its folder along
    server.handle_request()
