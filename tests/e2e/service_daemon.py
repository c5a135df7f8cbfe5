"""The local service as a program: its standard files, whatever state they are
in, and its flags.

  service_daemon.py LOCALD MODEL"""
import json
import os
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
import locald
from locald import create

USAGE = 2


def new_service(*flags):
    s = locald.Service(sys.argv[1], sys.argv[2], flags)
    with open(s.log_path, "wb"):
        return s


def end(service):
    """SIGTERM; the exit code."""
    service.process.send_signal(signal.SIGTERM)
    return service.process.wait(timeout=locald.GUARD_S)


def wait_ready(service):
    """Without the line that says so."""
    guard = time.monotonic() + locald.GUARD_S
    while True:
        try:
            if service.call("get_server_capabilities")[0] == 200:
                return
        except OSError:
            pass
        assert time.monotonic() < guard and service.process.poll() is None
        time.sleep(0.01)


def save(service, model, seq, name):
    return service.do("save_weights_for_sampler", {
        "model_id": model, "seq_id": seq, "path": name})


# --- Standard files ---------------------------------------------------------

def full_pipe():
    """A pipe that takes nothing more, and that nobody reads yet."""
    out, into = os.pipe()
    os.set_blocking(into, False)
    try:
        while True:
            os.write(into, b" " * 4096)
    except BlockingIOError:
        os.set_blocking(into, True)
    return out, into


def check_stderr_that_nobody_reads():
    """Nothing stops; who reads in the end is told how much is missing."""
    s = new_service()
    out, into = full_pipe()
    s.process = subprocess.Popen(s.command(), stdout=subprocess.PIPE,
                                 stderr=into)
    os.close(into)
    assert json.loads(s.process.stdout.readline())["ready"]
    session = s.call("create_session", {})[1]["session_id"]
    model = create(s, session)
    name = "n" * 150
    for seq in range(1, 40):
        save(s, model, seq, name + str(seq))
    assert s.call("healthz") == (200, {"status": "ok"})
    assert end(s) == 0
    os.close(out)
    s.end()


def check_stderr_that_is_read_late():
    s = new_service()
    out, into = full_pipe()
    s.process = subprocess.Popen(s.command(), stdout=subprocess.PIPE,
                                 stderr=into)
    os.close(into)
    s.process.stdout.readline()
    model = create(s, s.call("create_session", {})[1]["session_id"])
    save(s, model, 1, "a")
    with os.fdopen(out, "rb") as f:
        line = b""
        while not line.endswith(b"\n"):
            line = f.readline().lstrip()
        event = json.loads(line)
        assert event["event"] == "checkpoint", event
        assert event["path"].endswith("/a"), event
        assert end(s) == 0
    s.end()


def check_stdout_that_nobody_reads():
    """The ready line waits, the service does not."""
    s = new_service()
    out, into = full_pipe()
    with open(s.log_path, "ab") as log:
        s.process = subprocess.Popen(s.command(), stdout=into, stderr=log)
    os.close(into)
    wait_ready(s)
    assert end(s) == 0
    os.close(out)
    s.end()


def wait_new_socket(service, before):
    """Until the socket is not the one of `before` (its time in ns) any more:
    what the signal ends may still answer for a moment."""
    guard = time.monotonic() + locald.GUARD_S
    while True:
        try:
            if os.stat(service.socket).st_ctime_ns != before:
                return
        except FileNotFoundError:
            pass
        assert time.monotonic() < guard and service.process.poll() is None
        time.sleep(0.01)


def check_crash_with_a_full_stderr():
    """The signal's own line does not keep it from starting anew."""
    s = new_service()
    out, into = full_pipe()
    s.process = subprocess.Popen(s.command(), stdout=subprocess.PIPE,
                                 stderr=into)
    os.close(into)
    s.process.stdout.readline()
    session = s.call("create_session", {})[1]["session_id"]
    before = os.stat(s.socket).st_ctime_ns
    os.kill(s.process.pid, signal.SIGSEGV)
    wait_new_socket(s, before)
    assert locald.again(s.call, "session_heartbeat",
                        {"session_id": session})[0] == 200
    wait_ready(s)
    assert end(s) == 0
    os.close(out)
    s.end()


def check_closed_standard_files():
    """Their numbers are not given to the store's files."""
    s = new_service()
    s.process = subprocess.Popen(["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh",
                                  *s.command()])
    wait_ready(s)
    model = create(s, s.call("create_session", {})[1]["session_id"])
    for seq in (1, 2):
        save(s, model, seq, f"c{seq}")
    assert end(s) == 0
    s.start()
    runs = s.call(f"training_runs/{model}/checkpoints")[1]["checkpoints"]
    assert len(runs) == 2, runs
    assert os.path.exists(s.socket)
    assert s.stop() == 0
    assert not os.path.exists(s.socket)
    s.end()


def check_stdout_that_is_gone():
    """The line can't be delivered, which is said by the exit code."""
    s = new_service()
    out, into = os.pipe()
    os.close(out)
    with open(s.log_path, "ab") as log:
        s.process = subprocess.Popen(s.command(), stdout=into, stderr=log)
    os.close(into)
    assert s.process.wait(timeout=locald.GUARD_S) == 7
    s.end()


# --- Flags ------------------------------------------------------------------

def usage_error(*args):
    """What is said about flags that are refused: one line."""
    p = subprocess.run([sys.argv[1], *args], capture_output=True, text=True,
                       timeout=locald.GUARD_S, check=False)
    assert p.returncode == USAGE and not p.stdout, (args, p)
    assert p.stderr.startswith("tinker-locald: "), (args, p)
    assert p.stderr.count("\n") == 1, (args, p)
    return p.stderr


def check_flags_with_equals_signs():
    s = new_service("--listen=127.0.0.1:0", "--poll-ms=100",
                    "--allow-origin=http://a.example",
                    "--allow-origin=http://b.example")
    command = s.command()
    i = command.index("--model")
    s.command = lambda: [*command[:i], "--model=" + command[i + 1],
                         *command[i + 2:]]
    ready = s.start()
    assert "http" in ready and "unix" in ready, ready
    names = [m["model_name"] for m in
             s.call("get_server_capabilities")[1]["supported_models"]]
    assert names == ["m"], names
    assert s.stop() == 0
    s.end()


def check_flags_that_are_refused():
    good = ["--model", "m=/x", "--state", "/x/s", "--socket", "/x/k"]
    for args, words in [
            (["--nothing"], "unknown flag '--nothing'"),
            (["--nothing", "1"], "unknown flag '--nothing'"),
            (["--nothing=1"], "unknown flag '--nothing=1'"),
            (["--stat", "1"], "unknown flag '--stat'"),
            (["--listen"], "--listen wants a value"),
            (["--listen="], "--listen wants a value"),
            (["--listen", ""], "--listen wants a value"),
            (["--listen", "--threads", "1"], "--listen wants a value"),
            (["--state", "/x/t"], "--state is given twice"),
            (["--threads=1", "--threads", "1"], "--threads is given twice"),
            (["--threads=0"], "--threads wants a number from 1 to 1024"),
            (["--threads", "-1"], "--threads wants a number from 1 to 1024"),
            (["--threads=x"], "not 'x'"),
            (["--log-level=loud"], "--log-level wants info or debug"),
            (["--model==/x"], "--model wants [NAME=]DIR, not '=/x'"),
            (["--allow-origin=*"], "--allow-origin wants SCHEME://HOST"),
            (["--allow-origin=null"], "--allow-origin wants SCHEME://HOST"),
            (["x"], "unexpected argument 'x'"),
            (["-t"], "unexpected argument '-t'"),
            (["--\x1b[2J\u202e"], "unknown flag '--\\u001b[2J\\u202e'")]:
        said = usage_error(*good, *args)
        assert words in said, (args, said)
    assert "--model is required" in usage_error(*good[2:])
    assert "--state is required" in usage_error(*good[:2], *good[4:])


def check_log_level():
    """Debug lines are there for who asks: a call arrives, is accepted, is
    executed, has its result."""
    for flags, wanted in ([], []), (["--log-level", "debug"],
                                    ["accepted", "executes", "done"]):
        s = new_service(*flags)
        s.start()
        session = s.call("create_session", {})[1]["session_id"]
        model = locald.create(s, session)
        assert s.stop() == 0
        lines = [json.loads(l) for l in s.log().splitlines()
                 if l.startswith("{")]
        debug = [l for l in lines if l["level"] == "debug"]
        assert [l["event"] for l in debug
                if l.get("request_id") == f"{model}:0"] == wanted, debug
        arrived = [(l["method"], l["path"]) for l in debug
                   if l["event"] == "arrived"]
        assert (("POST", "api/v1/create_model") in arrived) == bool(wanted)
        s.end()


if __name__ == "__main__":
    locald.run_checks(globals())
