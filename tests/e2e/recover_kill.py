"""A process with a run dies before, and after, every call of the system that
makes something durable or sends or receives something, and is started again:
every loss has the bits of the undisturbed run, no step is lost or taken twice,
and the last checkpoint is the same to the byte.

  recover_kill.py LOCALD MODEL PROGRAM KILL_AT.SO [all]

Without "all" every tenth boundary is tried."""
import json
import os
import signal
import sqlite3
import sys

sys.path.insert(0, os.path.dirname(__file__))
import example_recover
from example_recover import STEPS, Run, locald

LIBRARY = sys.argv[4]
STEP_COMMIT, CKPT_FINGERPRINT, EPOCH_ACTIVE = 27, 42, 72
EVERY_NTH = 1 if sys.argv[5:] == ["all"] else 10


def run_until(run, at, after):
    """Whether it died."""
    env = {"LD_PRELOAD": LIBRARY, "TINKER_KILL_AT": str(at),
           "TINKER_KILL_AFTER": str(after)}
    os.environ.update(env)
    try:
        process = run.start()
    finally:
        for name in env:
            del os.environ[name]
    status = run.finish(process)
    assert status in (0, -signal.SIGKILL), (status, run.errors)
    return status != 0


def calls_of(run):
    path = os.path.join(run.service.dir, "count")
    os.environ.update(LD_PRELOAD=LIBRARY, TINKER_KILL_COUNT=path)
    try:
        assert run.run() == 0, run.errors
    finally:
        del os.environ["LD_PRELOAD"], os.environ["TINKER_KILL_COUNT"]
    with open(path, encoding="utf-8") as f:
        return int(f.read())


def committed(run):
    """Bits of the loss of each step, and the fingerprint of the last
    checkpoint, as the journal has them: what was committed right before a
    death was never printed. One epoch: no step was lost."""
    folder = os.path.join(run.folder, "runs", "numbers")
    active = rows(folder, "supervisor", EPOCH_ACTIVE)
    assert len(active) == 1, active
    epoch = "e%d" % json.loads(active[0][1])["epoch"]
    steps = rows(folder, epoch, STEP_COMMIT)
    assert [step for step, *_ in steps] == list(range(1, STEPS + 1)), steps
    probes = rows(folder, epoch, CKPT_FINGERPRINT)
    return ([json.loads(fields)["loss"] for _, fields, _ in steps],
            dict((step, data) for step, _, data in probes))


def rows(folder, name, kind):
    with sqlite3.connect(os.path.join(folder, name + ".db")) as db:
        return db.execute("SELECT step, fields, bytes FROM record WHERE"
                          " type = ? ORDER BY id", (kind,)).fetchall()


def check(run, want):
    losses, probes = want
    found, found_probes = committed(run)
    assert found == losses, (found, losses, run.errors)
    # One whose making was cut short is made one step later.
    same = set(found_probes) & set(probes)
    assert len(same) >= len(probes) - 1, found_probes.keys()
    for step in same:
        assert found_probes[step] == probes[step], (step, run.errors)
    rollbacks = run.said("rollback")
    assert not rollbacks, (rollbacks, run.errors)


def main():
    first = Run()
    calls = calls_of(first)
    want = committed(first)
    first.end()
    tried = died = 0
    for at in range(1, calls + 1, EVERY_NTH):
        run = Run()
        after = (at // EVERY_NTH) % 2
        died += run_until(run, at, after)
        assert run.run() == 0, (at, after, run.errors)
        try:
            check(run, want)
        except AssertionError:
            print("at", at, "after", after, flush=True)
            raise
        run.end()
        tried += 1
    assert died > tried // 2, (died, tried)
    print(f"{tried} of {calls} boundaries, {died} deaths: no step lost")


if __name__ == "__main__":
    main()
