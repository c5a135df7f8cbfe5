"""Which checkpoints of a run stay at the service: those that the options name,
whatever dies or is refused in between; and training goes on meanwhile.

  recover_keep.py LOCALD MODEL PROGRAM [NAME...]"""
import json
import os
import re
import signal
import struct
import sys
import time
from datetime import datetime

sys.path.insert(0, os.path.dirname(__file__))
from recover_faults import Run, locald, undisturbed

DELETE = "training_runs/*/checkpoints/*/*"
TTL = DELETE + "/ttl"
CKPT_LEVEL, CKPT_TTL, TOMBSTONE, DELETED = 43, 44, 45, 46
STEPS = ["steps", 40, "every", 2, "keep", 3]
# The first, the last three, and the first of each five steps.
KEPT = [2, 6, 10, 16, 20, 26, 30, 36, 38, 40]


def shown(run):
    """Step and end of life of each checkpoint that the service lists."""
    status, reply = run.service.call("checkpoints?limit=100")
    assert status == 200, reply
    return {int(re.search("-s([0-9]+)-", c["tinker_path"]).group(1)):
            c.get("expires_at") for c in reply["checkpoints"]}


def noted(run, kind):
    folder = os.path.join(run.folder, "runs", "numbers")
    return [(step, json.loads(fields))
            for step, fields, _ in run.rows(folder, "supervisor", kind)]


def check_losses(run, settings):
    got = run.committed()
    assert got == undisturbed([str(s) for s in settings[:2]]), got


def only_the_kept():
    run = Run((), [*STEPS, "delay", 0])
    assert run.run() == 0, run.errors
    assert sorted(shown(run)) == KEPT, shown(run)
    check_losses(run, STEPS)
    # Each one that went had three newer ones that were proven before.
    folder = os.path.join(run.folder, "runs", "numbers")
    proven, marked = set(), set()
    order = []
    for kind in (CKPT_LEVEL, TOMBSTONE, DELETED):
        order += [(row[0], kind, *row[1:]) for row in
                  run.rows(folder, "supervisor", kind, "id, step, fields")]
    for _, kind, step, fields in sorted(order):
        if kind == CKPT_LEVEL:
            proven.add(step)
        elif kind == TOMBSTONE:
            assert sum(p > step for p in proven) >= 3, (step, proven)
            marked.add(step)
        else:
            assert step in marked, (step, fields)
    assert marked == set(range(2, 41, 2)) - set(KEPT), marked
    run.end()


def killed_between():
    """Marked in one process, deleted by the next."""
    run = Run((), STEPS)
    assert run.run("kill", 38) == -signal.SIGKILL, run.errors
    marked = {step for step, _ in noted(run, TOMBSTONE)}
    assert marked and not noted(run, DELETED), marked
    assert sorted(shown(run)) == list(range(2, 37, 2)), shown(run)
    assert run.run("delay", 0) == 0, run.errors
    assert sorted(shown(run)) == KEPT, shown(run)
    check_losses(run, STEPS)
    run.end()


def killed_in_a_deletion():
    """Its record is there, and the service never saw the request."""
    run = Run([{"endpoint": DELETE, "nth": 1, "act": "hang"}],
              [*STEPS, "delay", 0])
    assert run.run("kill", 30) == -signal.SIGKILL, run.errors
    begun = [s for s, facts in noted(run, DELETED) if "end" not in facts]
    ended = [s for s, facts in noted(run, DELETED) if "end" in facts]
    assert set(begun) - set(ended), (begun, ended)
    assert run.run() == 0, run.errors
    assert sorted(shown(run)) == KEPT, shown(run)
    run.end()


def refused():
    """What the service does not delete stays, and training goes on."""
    run = Run([{"endpoint": DELETE, "act": "status", "status": 403}],
              [*STEPS, "delay", 0])
    assert run.run() == 0, run.errors
    check_losses(run, STEPS)
    assert sorted(shown(run)) == list(range(2, 41, 2)), shown(run)
    said = run.said("keep_failed")
    assert said and said[0]["facts"]["cause"] == "delete", run.errors
    run.end()


def old_saves(act, said):
    """F36, F46: what a load does not prove stands for none, and stays."""
    run = Run([{"endpoint": "save_weights", "nth": 19, "act": act}],
              [*STEPS, "delay", 0])
    assert run.run() == 0, run.errors
    check_losses(run, STEPS)
    assert set(shown(run)) == set(KEPT) | {34}, (shown(run), run.errors)
    assert len(run.said(said)) == 1, run.errors
    run.end()


def other_weights():
    old_saves("save_old", "checkpoint_refused")


def unreadable():
    old_saves("flip_bit", "keep_failed")


def recovers():
    """F01 amid deletions: what is left is enough, and what the model was loaded
    from stays."""
    run = Run([{"endpoint": "optim_step", "nth": 33, "act": "corrupt"}],
              [*STEPS, "delay", 0])
    assert run.run() == 0, run.errors
    check_losses(run, STEPS)
    assert len(run.said("rollback")) == 1 and run.lost() == 0, run.errors
    assert set(shown(run)) == set(KEPT) | {32}, shown(run)
    run.end()


def renewed():
    """Checkpoints that would end before the run's time to live is half over."""
    run = Run([{"endpoint": "save_weights", "act": "expire", "ms": 3000000}],
              ["ttl", 3600])
    assert run.run("kill", 10) == -signal.SIGKILL, run.errors
    now = time.time()
    assert run.run("ttl", 36000) == 0, run.errors
    ends = shown(run)
    assert sorted(ends) == [4, 8, 12] and ends[12] is None, ends
    assert min(seconds(ends[4]), seconds(ends[8])) > now + 30000, ends
    assert len(noted(run, CKPT_TTL)) >= 6
    check_losses(run, ["steps", 12])
    run.end()


def seconds(text):
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def expired():
    """F40: the newest has expired when it is needed: the one before it."""
    run = Run([{"endpoint": "save_weights", "nth": 2, "act": "expire",
                "ms": 1},
               {"endpoint": "optim_step", "nth": 12, "act": "corrupt"}])
    assert run.run("kill", 9) == -signal.SIGKILL, run.errors
    end = time.monotonic() + locald.GUARD_S
    while 8 in shown(run) and time.monotonic() < end:
        time.sleep(0.02)
    assert run.run() == 0, run.errors
    check_losses(run, ["steps", 12])
    assert len(run.said("checkpoint_refused")) == 1, run.errors
    assert [e["facts"]["to_step"] for e in run.said("rollback")] == [4]
    run.end()


FORGET = {"endpoint": "save_weights", "act": "forget", "applied": False}


def saves_fail():
    """Saves fail, up to three in a row: training goes on, and each is made up for by
    the next commit."""
    run = Run([{**FORGET, "after": 1, "times": 2},
               {**FORGET, "after": 5, "times": 3},
               {**FORGET, "after": 8, "times": 1}], STEPS)
    assert run.run() == 0, run.errors
    check_losses(run, STEPS)
    failed = run.said("checkpoint_failed")
    counts = [e["facts"]["count"] for e in failed]
    assert counts == [1, 2, 1, 2, 3, 1], run.errors
    assert not run.said("rollback"), run.errors
    assert sorted(shown(run)) == [2, 6, 8, 10, 12, 17, 18, 20, 23] + \
        list(range(24, 41, 2)), shown(run)
    run.end()


def last_save_fails():
    run = Run([{**FORGET, "nth": 3}])
    assert run.run() == 0, run.errors
    assert sorted(shown(run)) == [4, 8, 12], shown(run)
    assert len(run.said("checkpoint_failed")) == 1, run.errors
    run.end()


def lines(run, name):
    """As the cookbook reads it: each line strictly."""
    path = os.path.join(run.folder, "runs", "numbers", name)
    with open(path, encoding="utf-8") as f:
        return [json.loads(line) for line in f]


def by_time():
    """No step is long enough for a checkpoint but the last one."""
    run = Run((), ["every", -1])
    assert run.run() == 0, run.errors
    check_losses(run, ["steps", 12])
    assert sorted(shown(run)) == [12], shown(run)
    run.end()


def cookbook_files():
    """The files of tinker-cookbook, after deaths, a torn line and a rollback."""
    run = Run([{"endpoint": "optim_step", "nth": 11, "act": "corrupt"}])
    metrics = os.path.join(run.folder, "runs", "numbers", "metrics.jsonl")
    assert run.run("kill", 6) == -signal.SIGKILL, run.errors
    os.remove(metrics)
    assert run.run("kill", 9) == -signal.SIGKILL, run.errors
    before = lines(run, "metrics.jsonl")
    with open(metrics, "a", encoding="utf-8") as f:
        f.write('{"step": 8, "lo')
    assert run.run() == 0, run.errors
    after = lines(run, "metrics.jsonl")
    assert after[:len(before)] == before, (before, after)
    # Steps 9 and 10 were done again: as in the cookbook, they occur twice.
    pairs = [(line["step"], line["run_epoch"]) for line in after]
    assert pairs == [(i, 1) for i in range(10)] + \
        [(i, 2) for i in range(8, 12)], pairs
    losses = {line["step"] + 1: line["loss"] for line in after}
    bits = {step: struct.unpack(">d", bytes.fromhex(text))[0]
            for step, text in run.committed().items()}
    assert losses == bits, (losses, bits)
    assert all(type(line["step"]) is int and type(line["loss"]) is float
               and line["progress"] == line["run_step"] / 12
               for line in after), after
    saved = lines(run, "checkpoints.jsonl")
    assert [(c["name"], c["batch"], c.get("final")) for c in saved] == \
        [("000004", 4, None), ("000008", 8, None), ("final", 12, True)], saved
    assert all(re.fullmatch("tinker://[^/]+/weights/[^/]+", c["state_path"])
               for c in saved), saved
    run.end()


def cookbook_list():
    """What was deleted is not in the list."""
    run = Run((), [*STEPS, "delay", 0])
    assert run.run() == 0, run.errors
    saved = lines(run, "checkpoints.jsonl")
    assert [c["batch"] for c in saved] == KEPT, saved
    assert sum(c["proven"] for c in saved) >= 3, saved
    run.end()


TESTS = [only_the_kept, killed_between, killed_in_a_deletion, refused,
         other_weights, unreadable, recovers, renewed, expired, saves_fail,
         last_save_fails, by_time, cookbook_files, cookbook_list]


def main():
    names = sys.argv[4:]
    for test in TESTS:
        if not names or test.__name__ in names:
            test()
            print(test.__name__, flush=True)


if __name__ == "__main__":
    main()
