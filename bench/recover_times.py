"""How long it takes until a run goes on, with a real service: from a trainer's
death to its detection, from the decision that a model is lost to the request for
another one, and to the next committed step. One JSON object for each.

  recover_times.py LOCALD MODEL RECOVERD PLAY [N [LOAD_MS]]"""
import json
import os
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../tests/e2e"))
from recover_daemon import RECOVERD, Folder
from recover_faults import STEP_COMMIT, Run, locald

PLAY = sys.argv[4]
N = int(sys.argv[5]) if len(sys.argv) > 5 else 200
LOAD_MS = int(sys.argv[6]) if len(sys.argv) > 6 else 500
INC_OPEN = 61


def show(what, numbers, **more):
    numbers = sorted(numbers)
    at = {f"p{p}_ms": round(numbers[int(p / 100 * (len(numbers) - 1))], 1)
          for p in (50, 95, 99)}
    print(json.dumps({"bench": "recover_times", "what": what,
                      "n": len(numbers), **at, **more}), flush=True)


class Sleeper(Folder):
    """A daemon whose trainer does nothing."""

    def command(self, *_, **__):
        return [RECOVERD, "run", "--state", self.path, "--name", "sleeper",
                "--backoff-base", "1ms", "--backoff-cap", "1ms",
                "--max-restarts", "1000000", "--", "/bin/sleep", "100000"]


def deaths():
    folder = Sleeper()
    folder.start()
    at = []
    for count in range(1, N + 1):
        pid = folder.trainer(count)
        time.sleep(0.02)
        at.append(time.time() * 1000)
        os.kill(pid, signal.SIGKILL)
    folder.until(lambda: len(folder.events("ended")) == N, "ends")
    ended = [e["wall_ms"] for e in folder.events("ended")]
    show("death to detection", [e - a for a, e in zip(at, ended)])
    folder.daemon.terminate()
    folder.wait()
    folder.end()


def times(run, name, kind=None):
    folder = os.path.join(run.folder, "runs", "numbers")
    if kind:
        return [r[0] for r in run.rows(folder, name, kind, "wall_ms")]
    return [r[0] for k in range(20, 31)
            for r in run.rows(folder, name, k, "wall_ms")]


def rollbacks(load_ms):
    """A service that spoils a model now and then. Of each loss: when the journal
    had it, when it had the intent of the next model's first request, and when
    the next step was committed."""
    rules = [{"endpoint": "optim_step", "probability": 0.12, "act": "corrupt"}]
    if load_ms:
        rules.append({"endpoint": "load_weights", "act": "delay",
                      "ms": load_ms})
    run = Run(rules, ["steps", 1000000, "every", 2, "attempts", 1000])
    program = subprocess.Popen(
        [PLAY, run.folder, *run.settings], stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "TINKER_MODEL": "m",
             "TINKER_BASE_URL": "unix:" + run.service.socket})
    end = time.monotonic() + locald.GUARD_S * 4
    while (not os.path.exists(run.folder + "/runs/numbers/supervisor.db")
           or len(times(run, "supervisor", INC_OPEN)) <= N):
        assert program.poll() is None and time.monotonic() < end
        time.sleep(0.2)
    program.kill()
    program.wait()
    lost = times(run, "supervisor", INC_OPEN)[:N]
    files = [f[:-3] for f in os.listdir(run.folder + "/runs/numbers")
             if f.startswith("e") and f.endswith(".db")]
    begun = sorted(min(t) for t in (times(run, f) for f in files) if t)
    steps = sorted(t for f in files for t in times(run, f, STEP_COMMIT))
    with_load = {"load_ms": load_ms}
    show("decision to the first request of another model",
         [min(t for t in begun if t >= x) - x for x in lost], **with_load)
    show("decision to the next committed step",
         [min(t for t in steps if t >= x) - x for x in lost], **with_load)
    run.end()


def main():
    deaths()
    for load_ms in (0, LOAD_MS):
        rollbacks(load_ms)


if __name__ == "__main__":
    main()
