"""A process with a run dies before, or after, a call of the system that makes
something durable or sends or receives something, while the run goes back to a
checkpoint, and is started again: every loss has the bits of the
undisturbed run.

  recover_back.py LOCALD MODEL PROGRAM KILL_AT.SO [all]

Without "all" every twentieth boundary is tried."""
import os
import sys

sys.path.insert(0, os.path.dirname(__file__))
import example_recover
import recover_kill
from example_recover import STEPS, Run

EVERY_NTH = 1 if sys.argv[5:] == ["all"] else 20
RULE = {"endpoint": "optim_step", "nth": 7, "act": "corrupt"}


def check(run, want):
    """What was committed right before the death was never printed."""
    missing = set(want) - set(run.losses)
    assert len(missing) <= 1, (missing, run.errors)
    for step, loss in run.losses.items():
        assert loss == want[step], (step, loss, want[step], run.errors)
    assert STEPS in run.losses or STEPS in missing
    run.end()


def main():
    want = example_recover.undisturbed()
    first = Run(RULE)
    calls = recover_kill.calls_of(first)
    assert len(first.said("rollback")) == 1, first.errors
    check(first, want)
    tried = died = back = 0
    for at in range(1, calls + 1, EVERY_NTH):
        run = Run(RULE)
        died += recover_kill.run_until(run, at, (at // EVERY_NTH) % 2)
        try:
            assert run.run() == 0, run.errors
            back += len(run.said("rollback"))
            check(run, want)
        except AssertionError:
            print("at", at, flush=True)
            raise
        tried += 1
    assert died > tried // 2 and back >= tried - 1, (died, tried, back)
    print(f"{tried} of {calls} boundaries, {died} deaths: back to the "
          "checkpoint each time")


if __name__ == "__main__":
    main()
