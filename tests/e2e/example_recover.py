"""examples/09_recover.c: whatever is killed or lost on the way, the run goes on
at exactly the next batch, and every loss has the bits of an undisturbed run. A
process that dies costs no step.

  example_recover.py LOCALD MODEL PROGRAM"""
import json
import os
import re
import signal
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
import locald

STEPS, EVERY = 12, 4


class Run:
    """A service, and the folder of a run that trains on it."""

    def __init__(self, *rules):
        self.service = locald.Service(*sys.argv[1:3], ["--poll-ms", "300"])
        if rules:
            self.service.add_plan(rules)
        self.service.start()
        self.folder = os.path.join(self.service.dir, "recovery")
        self.losses = {}
        self.events = []
        self.last = 0

    def start(self, *arguments):
        return subprocess.Popen(
            [sys.argv[3], self.folder, *arguments], stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True,
            env={**os.environ, "TINKER_MODEL": "m",
                 "TINKER_BASE_URL": "unix:" + self.service.socket})

    def read(self, line):
        """One line that it has printed. A step that is done again has the
        same loss."""
        number, loss = re.fullmatch(r"step (\d+): loss (\S+)\n", line).groups()
        assert self.losses.setdefault(int(number), loss) == loss, line
        self.last = int(number)

    def finish(self, process):
        """Its exit status."""
        out, self.errors = process.communicate(timeout=locald.GUARD_S)
        for line in out.splitlines(True):
            self.read(line)
        self.events += [json.loads(line) for line in self.errors.splitlines()
                        if line.startswith("{")]
        return process.returncode

    def run(self, *arguments):
        return self.finish(self.start(*arguments))

    def said(self, event):
        return [e for e in self.events if e["event"] == event]

    def end(self):
        assert self.service.stop() == 0
        self.service.end()


def check(run, want, rollbacks):
    assert run.losses == want, (run.losses, want, run.errors)
    seen = [e["step"] for e in run.said("rollback")]
    assert seen == rollbacks, (seen, run.errors)
    assert len(run.said("finished")) == 1, run.errors
    run.end()


def undisturbed():
    run = Run()
    assert run.run() == 0, run.errors
    assert len(set(run.losses.values())) == STEPS  # a repeated one is seen
    assert list(run.losses) == list(range(1, STEPS + 1)), run.losses
    assert len(run.said("checkpoint")) == STEPS // EVERY, run.errors
    want = dict(run.losses)
    check(run, want, [])
    return want


def program_killed(want):
    """With a step in flight, in the first one and after a checkpoint: none is
    lost, none is computed twice."""
    run = Run()
    for step in (1, 2, 7, 12):
        assert run.run(str(step)) == -signal.SIGKILL, run.errors
        assert run.last == step - 1, run.errors
    assert run.run() == 0, run.errors
    assert len(run.said("attached")) == 4, run.errors
    check(run, want, [])


def both_killed(want):
    run = Run()
    for step in (3, 9):
        assert run.run(str(step)) == -signal.SIGKILL, run.errors
        run.service.kill()
        run.service.start()
    assert run.run() == 0, run.errors
    check(run, want, [])


def lost(want, rule, back):
    """The 7th step is lost: back to the checkpoint, in a new session."""
    run = Run(rule)
    assert run.run() == 0, run.errors
    check(run, want, [back])


def hopeless():
    """What no checkpoint can mend stops the run, with the sentence."""
    run = Run({"endpoint": "optim_step", "nth": 2, "act": "corrupt"})
    assert run.run() == 1
    assert "no checkpoint" in run.errors, run.errors
    assert len(run.said("stopped")) == 1
    assert run.run() == 1 and "stopped" in run.errors, run.errors
    run.end()


def main():
    want = undisturbed()
    program_killed(want)
    both_killed(want)
    lost(want, {"endpoint": "optim_step", "nth": 7, "act": "session_gone"}, 4)
    lost(want, {"endpoint": "optim_step", "nth": 7, "act": "corrupt"}, 4)
    hopeless()
    print("every run has the losses of the undisturbed one")


if __name__ == "__main__":
    main()
