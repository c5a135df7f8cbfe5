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


def check_crash_with_a_full_stderr():
    """The signal's own line does not keep it from starting anew."""
    s = new_service()
    out, into = full_pipe()
    s.process = subprocess.Popen(s.command(), stdout=subprocess.PIPE,
                                 stderr=into)
    os.close(into)
    s.process.stdout.readline()
    session = s.call("create_session", {})[1]["session_id"]
    os.kill(s.process.pid, signal.SIGSEGV)
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
    assert s.stop() == 0
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


if __name__ == "__main__":
    locald.run_checks(globals())
