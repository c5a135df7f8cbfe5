"""A run whose process, whose service, or both are killed at random moments: in
the end every loss has the bits of the undisturbed run, no step was lost, and
the service has taken each step once.

  recover_storm.py LOCALD MODEL PROGRAM KILLS [SEED]"""
import os
import random
import signal
import sys
import time

sys.path.insert(0, os.path.dirname(__file__))
from recover_faults import Run

KILLS = int(sys.argv[4])
SEED = int(sys.argv[5]) if len(sys.argv) > 5 else 1
STEPS = 30
SETTINGS = ["steps", STEPS, "every", 4]


def storm(run, rng, kills):
    """Until so many have died, or the run is through."""
    died = {"process": 0, "service": 0, "both": 0}
    while sum(died.values()) < kills:
        process = run.start()
        time.sleep(rng.uniform(0, 0.5))
        what = rng.choices(list(died), [6, 2, 1])[0]
        if process.poll() is not None:
            assert run.finish(process) == 0, run.errors
            return died
        if what != "service":
            process.send_signal(signal.SIGKILL)
        if what != "process":
            run.service.kill()
            run.service.start()
        if what == "service":
            time.sleep(rng.uniform(0, 0.5))
            process.send_signal(signal.SIGKILL)
        run.finish(process)
        assert not run.said("rollback"), run.errors
        died[what] += 1
    return died


def check(run, want):
    got = run.committed()
    assert got == want, (got, want, run.errors)
    assert not run.said("rollback"), run.errors


def main():
    rng = random.Random(SEED)
    undisturbed = Run((), SETTINGS)
    assert undisturbed.run() == 0, undisturbed.errors
    want = undisturbed.committed()
    assert len(want) == STEPS
    undisturbed.end()
    left, total, runs = KILLS, {}, 0
    while left > 0:
        run = Run((), SETTINGS)
        died = storm(run, rng, left)
        assert run.run() == 0, (SEED, runs, run.errors)
        check(run, want)
        run.end()
        left -= max(1, sum(died.values()))
        runs += 1
        for what, n in died.items():
            total[what] = total.get(what, 0) + n
    print(f"storm: {total} killed in {runs} runs, no step lost")


if __name__ == "__main__":
    main()
