"""What an operator's policy says of a run (TINKER_RUN_POLICY) holds, against
what the program says; and what can't be followed is refused by name.

  recover_ruled.py LOCALD MODEL PROGRAM"""
import fcntl
import json
import os
import time

from recover_faults import OPT, SAVE, Run, undisturbed


def ruled(run, text, *more):
    os.environ["TINKER_RUN_POLICY"] = \
        "{version: 1, defaults: {%s}}" % text
    try:
        return run.start(*more)
    finally:
        del os.environ["TINKER_RUN_POLICY"]


def lost_at(*steps):
    return [{"endpoint": OPT, "nth": n, "act": "corrupt"} for n in steps]


def optimizer_is_proven_each_time():
    """resume.require: V4. Without it the second time of a day is V3."""
    for text, levels in (("resume: {require: V4}", [4, 4]),
                         ("resume: {require: V3}", [4, 3])):
        run = Run(lost_at(6, 15))
        assert run.finish(ruled(run, text)) == 0, run.errors
        found = [e["facts"]["level"] for e in run.said("proved")]
        assert found == levels, (text, found, run.errors)
        assert run.committed() == undisturbed([])
        run.end()


def interval():
    """The program wants a checkpoint each 4 steps."""
    run = Run()
    assert run.finish(ruled(run, "checkpoint: {interval: {mode: steps, steps:"
                            " 5}}")) == 0, run.errors
    assert [e["step"] for e in run.said("checkpoint")] == [5, 10, 12]
    run.end()
    run = Run()
    assert run.finish(ruled(run, "checkpoint: {interval: {min: 10m}}")) == 0
    assert [e["step"] for e in run.said("checkpoint")] == [12], run.errors
    run.end()


def gate_attempts_step_zero():
    run = Run((), ["poison", 7, "fresh", 1])
    assert run.finish(ruled(run, "gate: strict")) == 0, run.errors
    assert len(run.said("rollback")) == 1 and run.lost() == 0, run.errors
    run.end()
    run = Run([{"endpoint": OPT, "seq_id": n, "act": "corrupt"}
               for n in (17, 7)])
    assert run.finish(ruled(run, "attempts: {same_root: 1}")) == 1
    assert "1 attempts" in run.errors, run.errors
    run.end()
    run = Run(lost_at(2))
    assert run.finish(ruled(run, "resume: {allow_step_zero: true}")) == 0
    assert run.committed() == undisturbed([]), run.errors
    run.end()


def rollback_has_a_limit():
    """The newest checkpoint is refused, and the one before is too far back."""
    run = Run([{"endpoint": SAVE, "nth": 2, "act": "flip_bit"}, *lost_at(10)])
    assert run.finish(ruled(run, "resume: {max_rollback_steps: 4}")) == 1
    assert "5 steps back" in run.errors, run.errors
    assert "max_rollback_steps is 4" in run.errors, run.errors
    assert not run.said("rollback")
    run.end()


def retention():
    run = Run((), ["every", 1])
    assert run.finish(ruled(run, "checkpoint: {retain: {last_validated: 2,"
                            " every_fraction: 0, first: false}, ttl: {initial:"
                            " 2h}, delete: {delay: 1m}}")) == 0, run.errors
    # A minute is not over: they are marked.
    marked = run.rows(os.path.join(run.folder, "runs", "numbers"),
                      "supervisor", 45)
    names = {json.loads(fields)["name"] for _, fields, _ in marked}
    assert any("-s1-" in n for n in names), (names, run.errors)
    assert all("expires_ms" in e["facts"] for e in run.said("checkpoint"))
    run.end()


def journal():
    """durability: process asks the disk for less; limits.disk_reserve."""
    run = Run()
    assert run.finish(ruled(run, "durability: process, limits: {disk_reserve:"
                            " 3MiB}")) == 0, run.errors
    assert os.path.getsize(os.path.join(run.folder, "runs", "numbers",
                                        "reserve")) == 3 << 20
    assert run.committed() == undisturbed([])
    run.end()


def F92_turns():
    """All turns of the folder are taken: a run that has lost its model waits
    for one, without an attempt, and goes on when one is free."""
    run = Run(lost_at(7))
    turns = os.path.join(run.folder, "turns")
    os.makedirs(turns, mode=0o700)
    taken = [open(os.path.join(turns, str(i)), "w", encoding="utf-8")
             for i in range(2)]
    for f in taken:
        fcntl.flock(f, fcntl.LOCK_EX)
    process = ruled(run, "limits: {concurrent_recoveries: 2}")
    for line in iter(process.stderr.readline, ""):
        if line.startswith("{"):
            run.events.append(json.loads(line))
        if run.said("waits_for_turn"):
            break
    assert run.said("waits_for_turn") and run.said("incident"), run.events
    begun = run.rows(os.path.join(run.folder, "runs", "numbers"), "supervisor",
                     66)
    assert len(begun) == 1, begun
    taken[1].close()
    assert run.finish(process) == 0, run.errors
    assert run.committed() == undisturbed([]) and run.lost() == 2, run.errors
    taken[0].close()
    run.end()


def refused():
    """F93, F91 and what else is not honoured: before anything is done."""
    for text, sentence in (
            ("limits: {spend_per_day: {tokens: 1M}}",
             "defaults.limits.spend_per_day.tokens': known, but not honoured"),
            ("limits: {canary_first: true}",
             "defaults.limits.canary_first': known, but not honoured"),
            ("gate: auto", "'auto' is known, but not honoured"),
            ("resume: {require: V2}", "'V2' is known, but not honoured"),
            ("resume: {requires: V4}", "did you mean 'require'"),
            ("detect: {poll: {idle: 5}}", "'5' lacks its unit")):
        run = Run()
        assert run.finish(ruled(run, text)) == 1, (text, run.errors)
        assert "TINKER_RUN_POLICY:1:" in run.errors, (text, run.errors)
        assert sentence in run.errors, (text, run.errors)
        assert not os.path.exists(run.folder), text
        run.end()


def main():
    for test in (optimizer_is_proven_each_time, interval,
                 gate_attempts_step_zero, rollback_has_a_limit, retention,
                 journal, F92_turns, refused):
        begun = time.monotonic()
        test()
        print(f"{test.__name__}: {time.monotonic() - begun:.1f} s", flush=True)


if __name__ == "__main__":
    main()
