"""A run with a long journal begins from a snapshot, and does not go on with a
journal that has not stayed what it was.

  recover_reread.py LOCALD MODEL PROGRAM"""
import os
import signal
import sqlite3
import sys
import time

sys.path.insert(0, os.path.dirname(__file__))
from recover_faults import STEP_COMMIT, Run, locald


def until(what, said):
    end = time.monotonic() + locald.GUARD_S
    while not what():
        assert time.monotonic() < end, said
        time.sleep(0.02)


def steps(run):
    return [row[0] for row in run.rows(
        os.path.join(run.folder, "runs", "numbers"), "e1", STEP_COMMIT)]


def killed_after(run, what, said):
    program = run.start()
    until(what, said)
    program.send_signal(signal.SIGKILL)
    assert run.finish(program) == -signal.SIGKILL, run.errors


def main():
    run = Run((), ["steps", 100000, "every", 0])
    folder = os.path.join(run.folder, "runs", "numbers")
    snapshot = os.path.join(folder, "snapshot")
    killed_after(run, lambda: os.path.exists(snapshot), "no snapshot")
    before = steps(run)
    killed_after(run, lambda: len(steps(run)) > len(before), "no step")
    assert steps(run) == list(range(1, len(steps(run)) + 1))
    assert not run.said("journal_damaged"), run.errors
    with sqlite3.connect(os.path.join(folder, "e1.db")) as db:
        db.execute("UPDATE record SET step = step + 1 WHERE id = 5")
    # It begins, since its state is right, and ends when it has read the rest.
    assert run.run() != 0
    said, = run.said("journal_damaged")
    assert "e1.db: damaged at record 5" in said["facts"]["why"], said
    assert "does not say any more what was written" in run.errors, run.errors
    assert not os.path.exists(snapshot)
    run.events.clear()
    assert run.run() != 0
    assert "e1.db: damaged at record 5" in run.errors, run.errors
    assert not run.events, run.errors
    run.end()


if __name__ == "__main__":
    main()
