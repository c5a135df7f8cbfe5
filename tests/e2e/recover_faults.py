"""A run against the failure modes of a service (docs/recovery.md has their
numbers): every committed loss has the bits of the undisturbed run, and no more
steps are lost than promised; or the run stops, and says why.

  recover_faults.py LOCALD MODEL PROGRAM [NAME...]"""
import json
import os
import re
import resource
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
import locald

STEPS, EVERY = 12, 4
STEP_COMMIT, OP_INTENT, OP_ENDED = 27, 21, 24
KIND_OPTIM = 10  # of tinker_kind_t


class Run:
    """A service, and the folder of a run that trains on it."""

    def __init__(self, rules=(), settings=(), flags=()):
        self.service = locald.Service(*sys.argv[1:3],
                                      ["--poll-ms", "300", *flags])
        if rules:
            self.service.add_plan(rules)
        self.service.start()
        self.settings = [str(s) for s in settings]
        self.folder = os.path.join(self.service.dir, "recovery")
        self.events, self.errors, self.out = [], "", ""

    def start(self, *more, **how):
        return subprocess.Popen(
            [sys.argv[3], self.folder, *self.settings, *map(str, more)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **how,
            env={**os.environ, "TINKER_MODEL": "m",
                 "TINKER_BASE_URL": "unix:" + self.service.socket})

    def finish(self, process):
        self.out, self.errors = process.communicate(timeout=locald.GUARD_S)
        self.events += [json.loads(line) for line in self.errors.splitlines()
                        if line.startswith("{")]
        return process.returncode

    def run(self, *more):
        return self.finish(self.start(*more))

    def said(self, event):
        return [e for e in self.events if e["event"] == event]

    def committed(self):
        """The loss of each step on the branch that counts."""
        losses, epoch = {}, 1
        folder = os.path.join(self.folder, "runs", "numbers")
        for active in self.rows(folder, "supervisor", 72):
            facts = json.loads(active[1])
            epoch = facts["epoch"]
            losses = {s: v for s, v in losses.items()
                      if s <= facts["from_step"]}
            for step, fields, _ in self.rows(folder, f"e{epoch}", STEP_COMMIT):
                losses[step] = json.loads(fields)["loss"]
        return losses

    @staticmethod
    def rows(folder, name, kind, what="step, fields, bytes"):
        with sqlite3.connect(os.path.join(folder, name + ".db")) as db:
            return db.execute(f"SELECT {what} FROM record WHERE"
                              " type = ? ORDER BY id", (kind,)).fetchall()

    def lost(self):
        """Steps that were done again because of rollbacks."""
        return sum(e["facts"]["from_step"] - e["facts"]["to_step"]
                   for e in self.said("rollback"))

    def end(self):
        assert self.service.stop() == 0
        self.service.end()


TAKEN = json.dumps({"error": "ResourceAlreadyExists: checkpoint x already"
                             " exists", "category": "user"})
# name: (rules, settings, rollbacks, most steps lost)
FB, OPT, SAVE = "forward_backward", "optim_step", "save_weights"
HEALED = {
    "F01_corrupted": ([{"endpoint": OPT, "nth": 7, "act": "corrupt"}], [], 1,
                      EVERY),
    # Every call fails from there on, and the run's record does not show it.
    "F02_not_flagged": ([{"endpoint": FB, "nth": 7, "act": "corrupt",
                          "flag": False}], [], 1, EVERY),
    "F04_session_gone": ([{"endpoint": FB, "nth": 10, "act": "session_gone"}],
                         [], 1, EVERY),
    # The run's record is there, the model is not.
    "F07_unloaded": ([{"endpoint": OPT, "nth": 10, "act": "status",
                       "status": 404,
                       "body": '{"detail": "model not found: x"}'}], [], 1,
                     EVERY),
    "F09_count_lost": ([{"endpoint": FB, "after": 6, "times": 3,
                         "act": "status", "status": 409,
                         "body": '{"detail": "expected 1, got 13"}'}], [], 1,
                       EVERY),
    "F10_creation_twice": ([{"endpoint": "create_model", "nth": 1,
                             "act": "lose_reply"}], [], None, 0),
    "F12_result_gone": ([{"endpoint": FB, "nth": 6, "act": "forget"}], [],
                        None, EVERY),
    "F13_applied_and_gone": ([{"endpoint": OPT, "nth": 6, "act": "forget",
                               "applied": True}], [], None, EVERY),
    "F13_gone_unapplied": ([{"endpoint": OPT, "nth": 6, "act": "forget",
                             "applied": False}], [], None, EVERY),
    "F14_paused": ([{"endpoint": FB, "nth": 5, "act": "pause", "ms": 1500}],
                   [], 0, 0),
    "F16_reply_lost": ([{"endpoint": FB, "nth": 5, "act": "lose_reply"},
                        {"endpoint": OPT, "nth": 9, "act": "lose_reply"}], [],
                       0, 0),
    "F17_twice_or_late": ([{"endpoint": "retrieve_future", "probability": 0.15,
                            "act": "duplicate"}], [], 0, 0),
    "F18_storm": ([{"endpoint": "retrieve_future", "probability": 0.3, "act": "status",
                    "status": 503}], [], 0, 0),
    "F19_too_many": ([{"endpoint": FB, "nth": 6, "act": "status",
                       "status": 429, "retry_after": 1}], [], 0, 0),
    "F20_bare_400": ([{"endpoint": FB, "nth": 6, "act": "status",
                       "status": 400, "body": "", "content_type": "text/html"}],
                     [], 0, 0),
    # The numbers behind it are there before it.
    "F22_overtaken": ([{"endpoint": FB, "nth": 6, "act": "delay", "ms": 300},
                       {"endpoint": OPT, "nth": 6, "act": "drop"}],
                      ["ahead", 4, "parts", 3], 0, 0),
    "F23_malformed": ([{"endpoint": "retrieve_future", "nth": 9, "act": "cut",
                        "bytes": 10}], [], 0, 0),
    "F24_slow_drip": ([{"endpoint": "retrieve_future", "nth": 9,
                        "act": "trickle", "bytes": 40, "ms": 10}], [], 0, 0),
    # The service refuses such gradients, and says that it has cleared them.
    "F25_not_finite": ([], ["poison", 7, "fresh", 1], 0, 0),
    "F25_strict_gate": ([], ["poison", 7, "fresh", 1, "strict", 1], 1, 0),
    # Those after it have been carried out.
    "F25_not_finite_ahead": ([], ["poison", 7, "fresh", 1, "ahead", 3], 1,
                             EVERY + 3),
    # A step went wrong and nobody saw it, until the steps behind it were done
    # again: two models of two checkpoints against what was journaled.
    "F29_ignored": ([{"endpoint": OPT, "nth": 7, "act": "ignore"},
                     {"endpoint": OPT, "nth": 8, "act": "corrupt"}],
                    ["every", 3], 2, 6),
    # The losses of what was not trained say nothing of what is done again.
    "F29_ignored_for_long": ([{"endpoint": OPT, "after": 4, "times": 8,
                               "act": "ignore"}], ["steps", 14], 1, 8),
    "F30_applied_twice": ([{"endpoint": OPT, "nth": 7, "act": "apply_twice"},
                           {"endpoint": OPT, "nth": 8, "act": "corrupt"}],
                          ["every", 3], 2, 6),
    "F36_old_weights": ([{"endpoint": SAVE, "nth": 2, "act": "save_old"},
                         {"endpoint": OPT, "nth": 10, "act": "corrupt"}], [],
                        1, 2 * EVERY),
    "F39_deleted": ([{"endpoint": "load_weights", "nth": 1, "act": "status",
                      "status": 404,
                      "body": '{"detail": "path: checkpoint not found: x"}'},
                     {"endpoint": OPT, "nth": 10, "act": "corrupt"}], [], 1,
                    2 * EVERY),
    # Nothing is assumed of what has the name already: step 5 is saved.
    "F42_name_is_taken": ([{"endpoint": "retrieve_future", "of": SAVE, "nth": 1,
                            "act": "status", "status": 200, "body": TAKEN},
                           {"endpoint": OPT, "nth": 7, "act": "corrupt"}], [],
                          1, 1),
    "F46_bit_flipped": ([{"endpoint": SAVE, "nth": 2, "act": "flip_bit"},
                         {"endpoint": OPT, "nth": 10, "act": "corrupt"}], [],
                        1, 2 * EVERY),
    "several_parts": ([{"endpoint": OPT, "nth": 7, "act": "corrupt"}],
                      ["parts", 3], 1, EVERY),
    "ahead": ([{"endpoint": OPT, "nth": 7, "act": "corrupt"}],
              ["ahead", 4], 1, EVERY + 4),
    "large_bodies": ([{"endpoint": FB, "nth": 6, "act": "lose_reply"}],
                     ["big", 200, "steps", 6], 0, 0),
    "strict_gate": ([], ["strict", 1], 0, 0),
    # Before the service has counted them: it waits for their numbers.
    "optim_refused": ([{"endpoint": OPT, "nth": 6, "act": "status",
                        "status": 400}], ["ahead", 4], 1, EVERY),
    "part_refused": ([{"endpoint": FB, "nth": 14, "act": "status",
                       "status": 400}], ["parts", 3], 1, EVERY),
    # The optim_step goes without what was canceled.
    "canceled": ([], ["cancel", 6, "ahead", 4], 1, EVERY),
    "part_canceled": ([], ["cancel", 6, "parts", 3, "ahead", 4], 1, EVERY),
    # The save of step 8 goes although steps 6 and 7 failed. A machine that is
    # slow may not have sent the step's last part in time: then it is torn.
    "too_late": ([{"endpoint": FB, "nth": 13, "act": "delay", "ms": 1500}],
                 ["deadline", 6, "parts", 3, "ahead", 4], None, EVERY),
}
KEYS = ("parts", "big", "steps")  # what changes the losses
wanted = {}


def undisturbed(settings):
    pairs = list(zip(settings[::2], settings[1::2]))
    key = tuple((k, v) for k, v in pairs if k in KEYS)
    if key not in wanted:
        run = Run((), [x for pair in key for x in pair])
        assert run.run() == 0, run.errors
        wanted[key] = run.committed()
        run.end()
    return wanted[key]


def healed(name):
    rules, settings, rollbacks, most = HEALED[name]
    want = undisturbed(settings)
    run = Run(rules, settings)
    assert run.run() == 0, (name, run.errors)
    got = run.committed()
    assert got == want, (name, got, want, run.errors)
    seen = len(run.said("rollback"))
    assert rollbacks is None or seen == rollbacks, (name, seen, run.errors)
    assert run.lost() <= most, (name, run.lost(), run.errors)
    print(f"{name}: {seen} rollbacks, {run.lost()} steps lost", flush=True)
    run.end()


def killed_with(name):
    """The same fault, and the process dies in the step after it."""
    rules, settings, _, most = HEALED[name]
    run = Run(rules, settings)
    status = run.run("kill", 6)
    assert status == -signal.SIGKILL, (name, status, run.errors)
    assert run.run() == 0, (name, run.errors)
    got = run.committed()
    assert got == undisturbed(settings), (name, got, run.errors)
    assert run.lost() <= most, (name, run.lost(), run.errors)
    run.end()


def heartbeats_lost():
    """F05: while requests succeed, their loss alone is no reason for anything.
    A process that goes on with a session beats at once."""
    run = Run([{"endpoint": "session_heartbeat", "act": "drop"}])
    for step in (3, 6):
        assert run.run("kill", step) == -signal.SIGKILL, run.errors
    assert run.run() == 0, run.errors
    with open(f"{run.service.state}/ledger.jsonl", encoding="utf-8") as f:
        assert any('"session_heartbeat"' in line for line in f)
    assert not run.said("incident") and run.lost() == 0, run.errors
    assert run.committed() == undisturbed([]), run.errors
    run.end()


def refused_and_killed():
    """What the service itself has refused has left nothing in the model, and its
    number is used: the next process goes on with the same model."""
    run = Run((), ["parts", 3])
    process = run.start("bad", 6)
    folder = os.path.join(run.folder, "runs", "numbers")
    while not process.stdout.readline().startswith("step 5:"):
        pass
    while not any("outside the vocabulary" in fields
                  for _, fields, _ in run.rows(folder, "e1", OP_ENDED)):
        time.sleep(0.02)
    process.kill()
    assert run.finish(process) == -signal.SIGKILL
    assert run.run() == 0, run.errors
    assert not run.said("incident") and run.lost() == 0, run.errors
    assert run.committed() == undisturbed(run.settings), run.errors
    run.end()


def stops(rules, settings, sentence):
    run = Run(rules, settings)
    assert run.run() == 1, run.errors
    assert re.search(sentence, run.errors), run.errors
    assert len(run.said("stopped")) == 1, run.errors
    run.end()


def more_steps():
    """A run that has all its steps gets more: it goes on from its last one."""
    run = Run()
    assert run.run("steps", 8) == 0, run.errors
    assert run.run("allow", 32) == 0, run.errors
    assert run.committed() == undisturbed([]) and run.lost() == 0, run.errors
    assert len(run.said("finished")) == 2, run.errors
    run.end()


def other_data():
    """F34: a step that is done again takes no other data than it had."""
    run = Run([{"endpoint": OPT, "nth": 7, "act": "corrupt"}], ["swap", 1])
    assert run.run() == 0, run.errors
    assert "not those that this step had before the rollback" in run.errors
    assert run.committed() == undisturbed([]) and run.lost() == 2, run.errors
    run.end()


def four_of_five():
    """Four of five checkpoints can't be proven: back to the good one."""
    settings = ["every", 2]
    run = Run([{"endpoint": SAVE, "after": 1, "times": 4, "act": "save_old"},
               {"endpoint": OPT, "nth": 11, "act": "corrupt"}], settings)
    assert run.run() == 0, run.errors
    assert len(run.said("checkpoint_refused")) == 4, run.errors
    assert run.lost() == 8, (run.lost(), run.errors)
    assert run.committed() == undisturbed([]), run.errors
    run.end()


def all_refused():
    """F48: no checkpoint is what was saved: the run stops and keeps all."""
    stops([{"endpoint": SAVE, "act": "flip_bit"},
           {"endpoint": OPT, "nth": 10, "act": "corrupt"}], [],
          "no checkpoint is left that could be proven")


def permanent():
    """F32, F63: the step that corrupts the model each time gives exactly the
    set number of attempts, then one end. So does a service that takes no step
    at all any more, not even one of a proof, and no checkpoint is blamed."""
    step_7 = [{"endpoint": OPT, "seq_id": n, "act": "corrupt"} for n in (17, 7)]
    for rules, back in ((step_7, 3),
                        ([{"endpoint": OPT, "after": 6, "act": "corrupt"}], 0)):
        run = Run(rules)
        assert run.run() == 1, run.errors
        assert len(run.said("rollback")) == back, run.errors
        assert len(run.said("stopped")) == 1
        assert "3 attempts" in run.errors, run.errors
        assert not run.said("checkpoint_refused"), run.errors
        run.end()


def workers_outlive():
    """Forked data workers of a process that was killed hold nothing up."""
    run = Run((), ["workers", 2])
    process = run.start("kill", 5)
    process.wait(timeout=locald.GUARD_S)
    assert process.returncode == -signal.SIGKILL
    assert run.run("workers", 0) == 0, run.errors
    assert run.committed() == undisturbed([])
    run.end()


def killed_before_it_left(*settings):
    """The process dies when the journal has an optim_step and the service does
    not. The next one sends it, and asks a gate for it as for its own."""
    run = Run([{"endpoint": OPT, "nth": 3, "act": "hang"}], settings)
    process = run.start()
    folder = os.path.join(run.folder, "runs", "numbers")
    while not process.stdout.readline().startswith("step 2:"):
        pass
    while not any(step == 3 and json.loads(fields)["kind"] == KIND_OPTIM
                  for step, fields, _ in run.rows(folder, "e1", OP_INTENT)):
        time.sleep(0.02)
    process.kill()
    assert run.finish(process) == -signal.SIGKILL
    assert run.run() == 0, run.errors
    assert run.committed() == undisturbed([]), run.errors
    assert not run.said("rollback"), run.errors
    run.end()


def checkpoints_asked_for():
    """They are of the step that was committed last, whatever is called next,
    and one step may have several."""
    run = Run([{"endpoint": OPT, "nth": 7, "act": "corrupt"}],
              ["every", 0, "asked", 5, "ahead", 4])
    assert run.run() == 0, run.errors
    paths = re.findall(r"asked: tinker://.*-e1-s5-\S*", run.out)
    assert len(set(paths)) == 2, (run.out, run.errors)
    assert run.committed() == undisturbed([]), run.errors
    assert [e["step"] for e in run.said("rollback")] == [5], run.errors
    run.end()


def given_back(ms, *settings):
    """While it waits for a service that is not there, for a first model or for
    the one that it had: the end of the run ends that."""
    run = Run()
    if settings:
        assert run.run(*settings) == -signal.SIGKILL
    run.service.kill()
    assert run.run("leave", ms) == 0, run.errors
    assert re.search("left: TINKER_EAGAIN, TINKER_ECLOSED", run.out), run.out
    run.service.start()
    assert run.run() == 0, run.errors
    assert run.committed() == undisturbed([]), run.errors
    run.end()


def given_back_while_it_waits():
    for ms in (0, 300):
        given_back(ms)
        given_back(ms, "kill", 3)


def hurried(*more):
    """A program that gives the waiting for a step up and tries again is told of
    a rollback all the same, once."""
    run = Run([{"endpoint": OPT, "nth": 7, "act": "corrupt"}],
              ["hurry", 1, *more])
    assert run.run("kill", 3) == -signal.SIGKILL, run.errors
    assert run.run() == 0, run.errors
    # To 5, or behind a checkpoint that it has asked for in between.
    assert run.out.count("rolled back to ") == 1, run.out
    assert run.committed() == undisturbed([]), run.errors
    run.end()


def hurried_ahead():
    hurried("ahead", 4)


def rename_losses(path, to):
    """A socket at path: the service at `to`, whose results lack the loss."""
    def copy(source, target, hide):
        while data := source.recv(1 << 16):
            if hide:
                data = data.replace(b"loss:sum", b"lost:sum")
                data = data.replace(b"elementwise_loss", b"elementwise_lost")
            target.sendall(data)
        target.close()

    def serve(listener):
        while True:
            client, _ = listener.accept()
            server = socket.socket(socket.AF_UNIX)
            server.connect(to)
            for one in ((client, server, False), (server, client, True)):
                threading.Thread(target=copy, args=one, daemon=True).start()

    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen()
    threading.Thread(target=serve, args=(listener,), daemon=True).start()


def no_losses():
    """A service that sends no loss says nothing of the model by that."""
    run = Run([{"endpoint": OPT, "nth": 7, "act": "corrupt"}])
    hidden = run.service.socket + "2"
    rename_losses(hidden, run.service.socket)
    shown, run.service.socket = run.service.socket, hidden
    assert run.run() == 0, run.errors
    assert [e["step"] for e in run.said("rollback")] == [4], run.errors
    folder = os.path.join(run.folder, "runs", "numbers")
    commits = run.rows(folder, "e2", STEP_COMMIT)
    assert [step for step, *_ in commits] == list(range(5, STEPS + 1)), commits
    assert not any("loss" in json.loads(fields) for _, fields, _ in commits)
    run.service.socket = shown
    run.end()


def killed_before_it_left_strict():
    killed_before_it_left("strict", 1)


def two_at_once():
    """The second process is refused, and the first goes on."""
    run = Run([{"endpoint": FB, "nth": 5, "act": "pause", "ms": 3000}])
    first = run.start()
    line = first.stdout.readline()
    assert line.startswith("step 1"), line
    second = Run.start(run)
    _, errors = second.communicate(timeout=locald.GUARD_S)
    assert second.returncode == 1 and "EBUSY" in errors, errors
    assert run.finish(first) == 0, run.errors
    run.end()


def past_the_run():
    for tag in (1, 123456):
        run = Run((), ["past", tag])
        assert run.run() == 0, run.errors
        assert re.search("past: TINKER_ESTATE: .*past the run",
                         run.out), run.out
        assert "words: TINKER_EINVAL, TINKER_EINVAL" in run.out, run.out
        assert run.committed() == undisturbed([])
        run.end()


def naive(*settings):
    """A loop that makes all calls of a step that an earlier process has begun:
    nothing is computed twice."""
    run = Run((), ["naive", 1, *settings])
    for step in (2, 5, 6, 10):
        assert run.run("kill", step) == -signal.SIGKILL, run.errors
    assert run.run() == 0, run.errors
    assert run.committed() == undisturbed(list(settings)), run.errors
    assert not run.said("rollback"), run.errors
    run.end()


def naive_parts():
    naive("parts", 3)


def another_plan():
    run = Run()
    assert run.run("kill", 3) == -signal.SIGKILL
    assert run.run("steps", 20) == 1
    assert "plan.steps is 20; the run was begun with 12" in run.errors
    assert run.run() == 0, run.errors
    run.end()


def bad_options():
    """A number out of range is refused with what is allowed."""
    run = Run()
    for name, value, sentence in (
            ("every", -2, "checkpoint_every is -2: allowed are -1 and more"),
            ("attempts", 0, "attempts is 0: allowed are 1 and more"),
            ("zero", 2, "allow_step_zero is 2: allowed are 0 and 1"),
            ("strict", 9, "gate is 9: allowed are TINKER_RUN_GATE_PIPELINED"),
            ("keep", 1, "keep_last is 1: allowed are 0, and 2 and more"),
            ("ttl", 5, "ttl_seconds is 5: allowed are TINKER_NO_TTL"),
            ("fresh", 7, "plan.data is 7: allowed are")):
        assert run.run(name, value) == 1, name
        assert sentence in run.errors, (name, run.errors)
    run.end()


def from_the_beginning():
    """F38: no checkpoint yet, and step zero is allowed."""
    run = Run([{"endpoint": OPT, "nth": 2, "act": "corrupt"}], ["zero", 1])
    assert run.run() == 0, run.errors
    assert run.committed() == undisturbed([])
    run.end()


def resumed():
    """A step that the service refuses each time stops the run, in the process
    that has made it too, until an operator lets it try again; then it goes back
    to the checkpoint and loses no more than that."""
    settings = ["poison", 7, "fresh", 1, "poisons", 4]
    run = Run((), settings)
    assert run.run() == 1, run.errors
    assert "step 7 was refused 4 times" in run.errors, run.errors
    run.end()
    run = Run((), settings + ["resume", 1])
    assert run.run() == 0, run.errors
    assert len(run.said("stopped")) == 1, run.errors
    assert len(run.said("rollback")) == 1 and run.lost() == 2, run.errors
    assert run.committed() == undisturbed([]), run.errors
    run.end()


def forked():
    """A forked child can't use the run, and the parent goes on with it."""
    run = Run((), ["forked", 1])
    assert run.run() == 0, run.errors
    assert "child: 0\n" in run.out, run.out
    assert run.committed() == undisturbed([])
    run.end()


def save_answered_late():
    """A save that failed, and that a later process has the answer of, is no
    checkpoint of the step where that one goes on."""
    run = Run([{"endpoint": "retrieve_future", "of": SAVE, "nth": 1,
                "act": "status", "status": 422}])
    assert run.run("kill", 7) == -signal.SIGKILL
    assert len(run.said("checkpoint_failed")) == 1, run.errors
    assert run.run() == 0, run.errors
    for e in run.said("checkpoint"):
        assert f"-s{e['step']}-" in e["facts"]["name"], e
    assert run.committed() == undisturbed([])
    run.end()


def killed_when_back():
    """From the moment where another model counts the incident is over: it costs
    no second attempt."""
    run = Run([{"endpoint": OPT, "nth": 7, "act": "corrupt"}],
              ["attempts", 1])
    assert run.run("reborn", 2) == -signal.SIGKILL, run.errors
    assert run.run() == 0, run.errors
    assert run.committed() == undisturbed([]) and run.lost() == 2, run.errors
    run.end()


def killed_between_steps():
    """A large request that belongs to no step, and was not taken, is sent again
    as any other: the model waits for its number."""
    run = Run([{"seq_id": 9, "times": 6, "act": "status", "status": 503}],
              ["big", 200, "steps", 6])
    assert run.run("eval", 5, "every", 100) == -signal.SIGKILL, run.errors
    assert run.run() == 0, run.errors
    assert run.committed() == undisturbed(run.settings)
    assert not run.said("incident"), run.errors
    left = os.listdir(os.path.join(run.folder, "runs", "numbers"))
    assert not [f for f in left if f.endswith(".bodies")], left
    run.end()


def disk_is_full():
    """A journal that can't be written any more costs no step: the run waits to
    be opened again, and nothing else is tried."""
    def full():
        resource.setrlimit(resource.RLIMIT_FSIZE, (250000, 250000))
    run = Run()
    # The limit is of each file: the reserve is there already.
    reserve = os.path.join(run.folder, "runs", "numbers", "reserve")
    os.makedirs(os.path.dirname(reserve), mode=0o700)
    with open(reserve, "wb") as f:
        f.write(bytes(1 << 20))
    process = run.start("patience", 5, preexec_fn=full, restore_signals=False)
    assert run.finish(process) == 1 and not run.said("finished"), run.errors
    assert "the run's journal could not be written" in run.errors, run.errors
    assert not run.said("incident") and not run.said("attached"), run.errors
    assert run.run() == 0, run.errors
    assert run.committed() == undisturbed([]) and run.lost() == 0, run.errors
    run.end()


OTHERS = [save_answered_late, killed_between_steps, killed_when_back,
          disk_is_full, four_of_five, more_steps, other_data, naive, naive_parts, bad_options,
          all_refused, permanent, workers_outlive, two_at_once, past_the_run,
          another_plan, from_the_beginning, resumed, forked,
          killed_before_it_left, killed_before_it_left_strict,
          checkpoints_asked_for, given_back_while_it_waits,
          hurried, hurried_ahead, no_losses, heartbeats_lost,
          refused_and_killed]


def main():
    names = sys.argv[4:]
    for name in HEALED:
        if not names or name in names:
            healed(name)
    for name in ("F12_result_gone", "F16_reply_lost", "large_bodies",
                 "several_parts", "part_refused"):
        if not names or "killed" in names:
            killed_with(name)
    for other in OTHERS:
        if not names or other.__name__ in names:
            other()
            print(other.__name__, flush=True)


if __name__ == "__main__":
    main()
