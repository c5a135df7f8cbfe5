"""A run whose process, whose service, or both are killed at random moments: in
the end every loss has the bits of the undisturbed run, no step was lost, and
the service has taken each step once.

  recover_storm.py LOCALD MODEL PROGRAM KILLS [SEED]"""
import collections
import concurrent.futures
import os
import random
import signal
import sys
import time

sys.path.insert(0, os.path.dirname(__file__))
from recover_faults import Run

KILLS = int(sys.argv[4])
SEED = int(sys.argv[5]) if len(sys.argv) > 5 else 1
LANES = 3
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


def lane(seed, kills, want):
    """Storms, one after another; how many died, in how many runs."""
    rng = random.Random(seed)
    total, runs = collections.Counter(), 0
    while kills > 0:
        run = Run((), SETTINGS)
        died = storm(run, rng, kills)
        assert run.run() == 0, (seed, runs, run.errors)
        check(run, want)
        run.end()
        kills -= max(1, sum(died.values()))
        runs += 1
        total.update(died)
    return total, runs


def main():
    """Several lanes at a time: most of it is waiting."""
    undisturbed = Run((), SETTINGS)
    assert undisturbed.run() == 0, undisturbed.errors
    want = undisturbed.committed()
    assert len(want) == STEPS
    undisturbed.end()
    total, runs = collections.Counter(), 0
    with concurrent.futures.ThreadPoolExecutor(LANES) as pool:
        for ended in [pool.submit(lane, SEED + i, -(-KILLS // LANES), want)
                      for i in range(LANES)]:
            total.update(ended.result()[0])
            runs += ended.result()[1]
    print(f"storm: {dict(total)} killed in {runs} runs, no step lost")


if __name__ == "__main__":
    main()
