"""A checkpoint is shown to be restored with its optimizer: by one call, for a
program with a loop of its own, and by a run before it goes back to one. A
service that drops the optimizer, or has saved another state, is found out every
time; an honest one is never accused; the program's own model is not touched.

  recover_proof.py LOCALD MODEL 09_RECOVER PROVE_RESUME RECOVER_RELEASE TIMES"""
import json
import os
import re
import sqlite3
import subprocess
import sys

sys.path.insert(0, os.path.dirname(__file__))
import example_recover
from example_recover import STEPS, Run, locald

PROVE_RESUME, RECOVER_RELEASE = sys.argv[4:6]
TIMES = int(sys.argv[6])
DROP = {"endpoint": "load_weights", "act": "drop_optimizer"}
CKPT_LEVEL, CKPT_QUARANTINED, CKPT_CHOSEN, PROVED = 43, 47, 65, 71


def lines_of(*arguments, rules=()):
    """What the program prints, and how many models its service has made."""
    service = locald.Service(*sys.argv[1:3])
    if rules:
        service.add_plan(rules)
    service.start()
    done = subprocess.run(
        [PROVE_RESUME, *map(str, arguments)], stdout=subprocess.PIPE, text=True,
        check=True, timeout=locald.GUARD_S,
        env={**os.environ, "TINKER_MODEL": "m",
             "TINKER_BASE_URL": "unix:" + service.socket})
    assert service.stop() == 0
    service.end()
    lines = done.stdout.splitlines()
    steps = [l for l in lines if l.startswith("step ")]
    return steps, [l for l in lines if not l.startswith("step ")]


def one_call():
    alone, none = lines_of(0, 3)
    assert len(alone) == 5 and not none
    for mode in ([], ["step"]):
        steps, proofs = lines_of(TIMES, 3, *mode)
        assert steps == alone, (steps, alone)  # the model is not touched
        assert len(proofs) == TIMES, proofs
        for line in proofs:
            assert re.fullmatch(r"proof 4: noise 0x0p\+0, optimizer 0x1\S+",
                                line), line
    steps, proofs = lines_of(TIMES, 3, rules=[DROP])
    assert steps == alone and len(proofs) == TIMES, (steps, proofs)
    for line in proofs:
        assert re.match(r"TINKER_ESTATE: prove_resume: checkpoint tinker://"
                        r"\S+/weights/last: cold optimizer", line), line


def another_state():
    """The second save has the state of the first one."""
    rule = {"endpoint": "save_weights", "nth": 2, "act": "save_old"}
    _, proofs = lines_of(TIMES, 3, rules=[rule])
    assert len(proofs) == TIMES, proofs
    for line in proofs:
        assert "/weights/last: the loaded weights are not those" in line, line


def without_steps():
    """A fresh optimizer is all that such a checkpoint has."""
    for rules in ([], [DROP]):
        _, proofs = lines_of(1, 0, rules=rules)
        assert re.match(r"proof 3: noise 0x0p\+0, optimizer -", proofs[0])


def records(run, *types):
    """(type, fields) of the supervisor's journal."""
    path = os.path.join(run.folder, "runs", "numbers", "supervisor.db")
    with sqlite3.connect(path) as db:
        return [(t, json.loads(f)) for t, f in db.execute(
            "SELECT type, fields FROM record WHERE type IN (%s) ORDER BY id"
            % ",".join(map(str, types)))]


def corrupt(nth):
    return {"endpoint": "optim_step", "nth": nth, "act": "corrupt"}


def a_run(want):
    """Its checkpoint is proven before it counts, in the journal too, and once
    is enough."""
    run = Run(corrupt(7), corrupt(16))
    assert run.run() == 0, run.errors
    proved = [e["facts"] for e in run.said("proved")]
    assert [f["level"] for f in proved] == [4, 3], run.errors
    assert "the optimizer differ by 0x1" in proved[0]["evidence"], proved
    found = records(run, CKPT_CHOSEN, PROVED, CKPT_LEVEL)
    assert [t for t, _ in found] == [CKPT_CHOSEN, PROVED, CKPT_LEVEL] * 2
    assert {f["name"] for _, f in found[:3]} == {proved[0]["name"]}, found
    example_recover.check(run, want, [4, 8])


def a_cold_one(want):
    """The run refuses it by name and goes back to the one before."""
    run = Run(corrupt(11), {**DROP, "times": 4})
    assert run.run() == 0, run.errors
    refused = [e["facts"] for e in run.said("checkpoint_refused")]
    assert len(refused) == 1, run.errors
    assert "-s8-" in refused[0]["name"], refused
    assert "cold optimizer" in refused[0]["evidence"], refused
    (_, mark), = records(run, CKPT_QUARANTINED)
    assert mark["name"] == refused[0]["name"], mark
    example_recover.check(run, want, [4])


def cold_ones():
    """No checkpoint can be proven: it stops and says so, and stays stopped."""
    run = Run(corrupt(11), DROP)
    assert run.run() == 1
    assert len(run.said("checkpoint_refused")) == 2, run.errors
    assert len(run.said("stopped")) == 1, run.errors
    assert "no checkpoint is left that could be proven" in run.errors
    assert run.last == 10 and not run.said("rollback"), run.errors
    assert run.run() == 1 and "stopped" in run.errors, run.errors
    run.end()


def given_back():
    """A run that is released ends the proof that it waits for."""
    service = locald.Service(*sys.argv[1:3])
    service.add_plan([corrupt(3), {"endpoint": "load_weights", "after": 1,
                                   "act": "hang"}])
    service.start()
    done = subprocess.run(
        [RECOVER_RELEASE, os.path.join(service.dir, "r"), "incident"],
        stdout=subprocess.PIPE, text=True, timeout=60, check=True,
        env={**os.environ, "TINKER_MODEL": "m",
             "TINKER_BASE_URL": "unix:" + service.socket})
    assert done.stdout == "TINKER_ECLOSED\n", done.stdout
    assert service.stop() == 0
    service.end()


def main():
    one_call()
    another_state()
    without_steps()
    want = example_recover.undisturbed()
    assert len(want) == STEPS
    a_run(want)
    a_cold_one(want)
    cold_ones()
    given_back()
    print(f"{TIMES} of {TIMES} found, 0 of {2 * TIMES} accused")


if __name__ == "__main__":
    main()
