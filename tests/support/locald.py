"""Starts tinker-locald and talks to it over its Unix socket, standard library
only: bodies are JSON, also of forward_backward (the retired form, which the
service still reads)."""
import atexit
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time

GUARD_S = 240  # a hang guard, not a promise


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path, timeout):
        super().__init__("localhost", timeout=timeout)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Service:
    """One state folder and the process on it, which may be killed and started
    again."""

    def __init__(self, program, model, flags=()):
        self.dir = tempfile.mkdtemp(prefix="tk")
        self.program, self.model, self.flags = program, model, list(flags)
        self.socket = os.path.join(self.dir, "s")
        self.state = os.path.join(self.dir, "state")
        self.log_path = os.path.join(self.dir, "log")
        self.process = None
        self.crashes = 0  # how often the engine shall have crashed
        atexit.register(self.end)

    def add_plan(self, rules, seed=1):
        """Goes wrong by these rules from the next start on."""
        path = os.path.join(self.dir, "plan.json")
        with open(path, "w", encoding="utf-8") as f:
            json.dump({"seed": seed, "rules": list(rules)}, f)
        self.flags += ["--faults", path]

    def command(self):
        return [self.program, "--model", "m=" + self.model, "--socket",
                self.socket, "--state", self.state, "--threads", "2",
                *self.flags]

    def start(self):
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(self.command(), stderr=log,
                                            stdout=subprocess.PIPE)
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError("no ready line: " + self.log()[-2000:])
        return json.loads(line)

    def check_crashes(self):
        """A crash is survived, and would go unseen."""
        seen = len(self.events("crash"))
        assert seen == self.crashes, self.log()[-3000:]

    def kill(self):
        self.check_crashes()
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.process.stdout.close()

    def stop(self):
        """SIGTERM; returns the exit code."""
        self.check_crashes()
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(timeout=GUARD_S)
        self.process.stdout.close()
        return code

    def end(self):
        """Whatever happened: no process, no folder is left."""
        if self.process and self.process.poll() is None:
            self.kill()
        shutil.rmtree(self.dir, ignore_errors=True)

    def log(self):
        with open(self.log_path, encoding="utf-8") as f:
            return f.read()

    def events(self, name):
        lines = [json.loads(l) for l in self.log().splitlines(True)
                 if l.startswith("{") and l.endswith("\n")]
        return [l for l in lines if l.get("event") == name]

    def event(self, name, **fields):
        """The newest such line, which another thread writes: it may follow the
        reply."""
        end = time.monotonic() + GUARD_S
        while time.monotonic() < end:
            found = [e for e in self.events(name)
                     if all(e.get(k) == v for k, v in fields.items())]
            if found:
                return found[-1]
            time.sleep(0.01)
        raise TimeoutError(f"{name} {fields}: " + self.log()[-2000:])

    def connection(self):
        return UnixConnection(self.socket, GUARD_S)

    def call(self, path, body=None, headers=None, method=None, raw=False):
        """One request on a connection of its own: (status, decoded reply)."""
        c = self.connection()
        try:
            data = body if isinstance(body, (bytes, type(None))) \
                else json.dumps(body).encode()
            c.request(method or ("GET" if data is None else "POST"),
                      "/api/v1/" + path, data,
                      {"Content-Type": "application/json", **(headers or {})})
            reply = c.getresponse()
            text = reply.read()
        finally:
            c.close()
        if raw:
            return reply.status, text, reply.headers
        return reply.status, json.loads(text) if text else None

    def result(self, request_id):
        """Polls until the future is done; its result."""
        end = time.monotonic() + GUARD_S
        while time.monotonic() < end:
            status, reply = self.call("retrieve_future",
                                      {"request_id": request_id})
            if status != 200:
                return status, reply
            if reply.get("type") != "try_again":
                return 200, reply
        raise TimeoutError(request_id)

    def do(self, path, body):
        """Submits and waits."""
        status, reply = self.call(path, body)
        assert status == 200, (path, status, reply)
        status, reply = self.result(reply["request_id"])
        assert status == 200, (path, status, reply)
        return reply


def run_checks(module):
    """Calls every check_ function of a test's globals, in their order."""
    checks = [(name[6:], fn) for name, fn in list(module.items())
              if name.startswith("check_")]
    for name, fn in checks:
        fn()
        print(f"{name}: ok", flush=True)
    print(f"{len(checks)} passed, 0 failed")


def again(fn, *args):
    """Calls until there is an answer: the connection may break, and a service
    that starts says 503."""
    end = time.monotonic() + GUARD_S
    while time.monotonic() < end:
        try:
            reply = fn(*args)
            if not (isinstance(reply, tuple) and reply[0] == 503):
                return reply
        except (OSError, http.client.HTTPException, ValueError):
            pass
        time.sleep(0.01)
    raise TimeoutError(args)


def zstd_frame(data, size=None):
    """A zstd frame of uncompressed blocks that says its content is `size`
    bytes, or nothing about it for False."""
    if size is False:
        head = b"\x00\x58"  # no content size, a window of 2 MiB
    else:
        head = b"\xa0" + (len(data) if size is None else size).to_bytes(
            4, "little")
    blocks = [data[i:i + 0x20000]
              for i in range(0, max(len(data), 1), 0x20000)]
    return b"\x28\xb5\x2f\xfd" + head + b"".join(
        (len(b) << 3 | (i + 1 == len(blocks))).to_bytes(3, "little") + b
        for i, b in enumerate(blocks))


def datum(tokens, weights=None):
    n = len(tokens) - 1
    return {
        "model_input": {"chunks": [{"type": "encoded_text",
                                    "tokens": tokens[:-1]}]},
        "loss_fn_inputs": {
            "target_tokens": {"data": tokens[1:], "dtype": "int64",
                              "shape": [n]},
            "weights": {"data": weights or [1.0] * n, "dtype": "float32",
                        "shape": [n]}}}


def forward_backward(model_id, seq, data, loss="cross_entropy", **more):
    return {"model_id": model_id, "seq_id": seq, **more,
            "forward_backward_input": {"loss_fn": loss, "data": data}}


def optim_step(model_id, seq, **params):
    return {"model_id": model_id, "seq_id": seq, "type": "optim_step",
            "adam_params": {"learning_rate": 1e-3, **params}}


def create(service, session, number=0, rank=4, seed=7, **lora):
    return service.do("create_model", {
        "session_id": session, "model_seq_id": number, "base_model": "m",
        "lora_config": {"rank": rank, "seed": seed, **lora},
        "type": "create_model"})["model_id"]
