"""A run on a machine that goes wrong: its disk, its power, its line, and a
service that has become another one (docs/recovery.md has the numbers). Every
committed loss has the bits of the undisturbed run, or the run says what is
wrong and has changed nothing.

  recover_host.py LOCALD MODEL PROGRAM [KILL_AT.SO [all]]

Without the library, syncs that fail are left out; without "all" each 22nd sync
fails."""
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time

from recover_faults import FB, OPT, Run, locald, undisturbed

LIBRARY = sys.argv[4] if len(sys.argv) > 4 else None
EACH = 1 if sys.argv[5:] == ["all"] else 22
OP_INTENT, INC_CLOSE = 21, 78
POWER_CUTS = 100 if EACH == 1 else 3


def files(run):
    return os.path.join(run.folder, "runs", "numbers")


def with_env(run, env, *more):
    os.environ.update(env)
    try:
        return run.run(*more)
    finally:
        for name in env:
            del os.environ[name]


# --- The disk ----------------------------------------------------------------

def F71_sync_fails():
    """Whichever sync of the journal fails: the program hears of it, what it was
    told to be committed is there, and the run goes on when it is opened
    again."""
    if not LIBRARY:
        return
    want = undisturbed([])
    run = Run()
    count = os.path.join(run.service.dir, "count")
    assert with_env(run, {"LD_PRELOAD": LIBRARY,
                          "TINKER_SYNC_COUNT": count}) == 0, run.errors
    with open(count, encoding="utf-8") as f:
        total = int(f.read())
    run.end()
    failed = 0
    for at in range(1, total + 1, EACH):
        run = Run()
        status = with_env(run, {"LD_PRELOAD": LIBRARY,
                                "TINKER_SYNC_FAILS": str(at)})
        assert status in (0, 1), (at, status, run.errors)
        failed += status
        if status:
            assert "EIO" in run.errors or "journal" in run.errors, run.errors
            assert not run.said("rollback"), (at, run.errors)
        told = [int(n) for n in re.findall(r"step (\d+): loss", run.out)]
        if told:
            assert set(told) <= set(run.committed()), (at, run.errors)
        assert run.run() == 0, (at, run.errors)
        assert run.committed() == want and run.lost() == 0, (at, run.errors)
        run.end()
    # Those of a checkpoint of SQLite, or of another file, need not count.
    assert failed > total // EACH // 2, (failed, total)
    print(f"F71_sync_fails: {failed} of {total} syncs, no step lost",
          flush=True)


class SmallDisk:
    """A tmpfs of so many KiB for the folder of runs."""

    def __init__(self, path, kib):
        self.path = path
        os.makedirs(path, mode=0o700, exist_ok=True)
        self.mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={kib}k,mode=700", "tmpfs",
             path], check=False, stderr=subprocess.DEVNULL).returncode == 0

    def fill(self, leave):
        """All but so many bytes, by a file of somebody else."""
        disk = os.statvfs(self.path)
        n = disk.f_bavail * disk.f_frsize - leave
        with open(os.path.join(self.path, "other"), "ab") as f:
            f.write(b"\0" * max(n, 0))

    def empty(self):
        os.unlink(os.path.join(self.path, "other"))

    def end(self):
        if self.mounted:
            subprocess.run(["umount", "-l", self.path], check=False)


def F72_full_disk():
    """In the middle of an incident the disk is full: the reserve is given up,
    the incident ends, and no further step begins until there is room again. In
    the same process, and in a later one."""
    for later in (False, True):
        run = Run([{"endpoint": "load_weights", "nth": 1, "act": "pause",
                    "ms": 1500},
                   {"endpoint": OPT, "nth": 7, "act": "corrupt"}],
                  ["patience", 0 if later else 400])
        disk = SmallDisk(run.folder, 8 << 10)
        if not disk.mounted:
            print("F72_full_disk: no tmpfs can be mounted here", flush=True)
            disk.end()
            run.end()
            return
        try:
            F72_once(run, disk, later)
        finally:
            disk.end()
        run.end()


def size_of(path):
    try:
        return os.path.getsize(path)
    except FileNotFoundError:
        return 0


def F72_once(run, disk, later):
    reserve = os.path.join(files(run), "reserve")
    process = run.start()
    lines = iter(process.stderr.readline, "")
    for line in lines:  # to the incident
        run.events += [json.loads(line)] if line[0] == "{" else []
        if run.said("incident"):
            break
    assert os.path.getsize(reserve) == 1 << 20
    disk.fill(4096)
    for line in lines:
        run.events += [json.loads(line)] if line[0] == "{" else []
        if run.said("disk_full"):
            break
    assert run.said("rollback") and run.said("disk_full"), run.events
    assert size_of(reserve) < 1 << 20  # it may just be tried to make it again
    if later:
        run.errors = process.stderr.read()  # what was read ahead, too
        process.communicate(timeout=locald.GUARD_S)
        assert process.returncode == 1, run.errors
        assert "No space left" in run.errors, run.errors
        # It is refused by name, and touches nothing.
        assert run.run() == 1 and "No space left" in run.errors, run.errors
        disk.empty()
        assert run.run() == 0, run.errors
    else:
        disk.empty()
        assert run.finish(process) == 0, run.errors
    assert os.path.getsize(reserve) == 1 << 20
    assert len(run.rows(files(run), "supervisor", INC_CLOSE)) == 1
    assert run.committed() == undisturbed([]), run.events
    assert run.lost() == 2, run.events


# --- Power -------------------------------------------------------------------

def F84_unsynced():
    """The power is lost at some moment, and with it all that no sync has made
    durable, bodies above all. What the run had said to be committed is there;
    it goes on, or back to the checkpoint where a body is missing that the
    service has not taken."""
    if not LIBRARY:
        return
    for settings in ([], ["big", 200, "steps", 6, "every", 2]):
        want = undisturbed(settings)
        run = Run((), settings)
        count = os.path.join(run.service.dir, "count")
        assert with_env(run, {"LD_PRELOAD": LIBRARY,
                              "TINKER_KILL_COUNT": count}) == 0, run.errors
        with open(count, encoding="utf-8") as f:
            total = int(f.read())
        run.end()
        back = 0
        for at in range(1, total, total // POWER_CUTS + 1):
            run = Run((), settings)
            status = with_env(run, {
                "LD_PRELOAD": LIBRARY, "TINKER_KILL_POWER": "1",
                "TINKER_KILL_AT": str(at), "TINKER_KILL_AFTER": str(at % 2)})
            assert status in (0, -signal.SIGKILL), (at, status, run.errors)
            told = {int(n) for n in re.findall(r"step (\d+): loss", run.out)}
            assert run.run() == 0, (at, run.errors)
            assert run.committed() == want, (at, run.errors)
            lost = {e["facts"]["to_step"] for e in run.said("rollback")}
            assert not lost or settings, (at, run.errors)
            assert told <= set(want), (at, told)
            back += len(lost)
            run.end()
        print(f"F84_unsynced {settings}: {back} of {POWER_CUTS} went back",
              flush=True)


def F84_body_lost(how):
    """A large body that the service has not taken is gone, or is not what was
    written: from the checkpoint, with the reason."""
    settings = ["big", 200, "steps", 6, "every", 2]
    run = Run([{"endpoint": FB, "seq_id": 14, "times": 1, "act": "hang"}],
              settings)
    process = run.start()
    side = os.path.join(files(run), "e1.s5.bodies")
    while not process.stdout.readline().startswith("step 4:"):
        pass
    while not any(s == 5 for s, *_ in run.rows(files(run), "e1", OP_INTENT)):
        time.sleep(0.02)
    process.kill()
    assert run.finish(process) == -signal.SIGKILL
    if how == "gone":
        os.unlink(side)
    elif how == "zeros":
        size = os.path.getsize(side)
        with open(side, "r+b") as f:
            f.write(b"\0" * size)
    assert run.run() == 0, run.errors
    assert run.committed() == undisturbed(settings), run.errors
    if how == "there":
        assert not run.said("rollback"), run.errors
    else:
        incident, = run.said("incident")
        assert "bodies" in incident["facts"]["cause"], incident
        assert [e["step"] for e in run.said("rollback")] == [4], run.errors
    run.end()


# --- The line ----------------------------------------------------------------

class Line(threading.Thread):
    """A socket at `path` to the one at `to`. From the n-th connection's first
    large request on, it lets so many bytes a second through."""

    def __init__(self, path, to, rate):
        super().__init__(daemon=True)
        self.to, self.rate, self.slow = to, rate, 0
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        self.listener.listen()
        self.start()

    def run(self):
        while True:
            client, _ = self.listener.accept()
            server = socket.socket(socket.AF_UNIX)
            server.connect(self.to)
            for ends in ((client, server), (server, client)):
                threading.Thread(target=self.copy, args=ends,
                                 daemon=True).start()

    def copy(self, source, target):
        moved = 0
        while data := source.recv(self.rate // 10):
            moved += len(data)
            if moved > 3 * self.rate:  # it has collapsed
                self.slow += 1
                time.sleep(0.1)
            target.sendall(data)
        target.close()


def F85_bandwidth():
    """The line gets so slow that a request of a step takes seconds: it is
    neither sent twice nor given up, and no model is blamed."""
    settings = ["big", 200, "steps", 3]
    run = Run((), settings)
    slow = run.service.socket + "2"
    line = Line(slow, run.service.socket, 40000)
    shown, run.service.socket = run.service.socket, slow
    assert run.run() == 0, run.errors
    assert line.slow > 10, line.slow
    assert not run.said("incident") and run.lost() == 0, run.errors
    assert run.committed() == undisturbed(settings), run.errors
    run.service.socket = shown
    run.end()


# --- The service is another one ----------------------------------------------

def refusal(text):
    return {"act": "status", "status": 400, "content_type": "application/json",
            "body": json.dumps({"detail": text})}


def F89_base_model_retired():
    """A base model that the service offers no more stops the run, with the
    service's words and what can be done, whatever process asks; checkpoints are
    kept. A run that had not begun makes none."""
    words = "base model m is retired"
    offered = {"endpoint": "get_server_capabilities", "act": "status",
               "status": 200, "content_type": "application/json",
               "body": json.dumps({"supported_models": [
                   {"model_name": "other"}]})}
    load = {"endpoint": "load_weights", **refusal(words)}
    lost = {"endpoint": OPT, "nth": 7, "act": "corrupt"}
    settings = ["keep", 2, "delay", 0, "every", 2, "ttl", 86400]
    run = Run([lost, load, offered], settings)
    assert run.run() == 1, run.errors
    stopped, = run.said("stopped")
    assert words in stopped["facts"]["why"], stopped
    assert "does not offer the base model m" in run.errors, run.errors
    assert not run.said("checkpoint_refused"), run.errors
    kept = {e["facts"]["name"]: e["facts"]["expires_ms"]
            for e in run.said("checkpoint_renewed")}
    saved = [e["facts"]["name"] for e in run.said("checkpoint")]
    assert kept.get(saved[-1]) == -1, (kept, saved)
    assert run.run() == 1 and len(run.said("stopped")) == 1, run.errors
    assert "does not offer the base model m" in run.errors, run.errors
    run.end()
    # A run that has not begun makes nothing, and says why.
    run = Run([{"endpoint": "create_model", **refusal(words)}])
    assert run.run() == 1 and words in run.errors, run.errors
    assert not run.said("epoch_active"), run.errors
    run.end()


def main():
    for test in (F71_sync_fails, F72_full_disk, F84_unsynced, F85_bandwidth,
                 F89_base_model_retired):
        begun = time.monotonic()
        test()
        print(f"{test.__name__}: {time.monotonic() - begun:.1f} s", flush=True)
    for how in ("there", "gone", "zeros"):
        F84_body_lost(how)
        print("F84_body_lost", how, flush=True)


if __name__ == "__main__":
    main()
