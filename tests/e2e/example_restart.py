"""examples/08_restart.c: whatever is killed or lost on the way, the run goes on
at exactly the next batch, and every loss has the bits of an undisturbed run.

  example_restart.py LOCALD MODEL PROGRAM"""
import os
import re
import signal
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
import locald

STEPS, EVERY = 12, 4


class Run:
    """A service, and the file of a run that trains on it."""

    def __init__(self, *rules):
        self.service = locald.Service(*sys.argv[1:3], ["--poll-ms", "300"])
        if rules:
            self.service.add_plan(rules)
        self.service.start()
        self.file = os.path.join(self.service.dir, "progress")
        self.losses = {}
        self.began = []  # the checkpoint of each beginning, in steps

    def start(self, *arguments):
        return subprocess.Popen(
            [sys.argv[3], self.file, *arguments], stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True,
            env={**os.environ, "TINKER_MODEL": "m",
                 "TINKER_BASE_URL": "unix:" + self.service.socket})

    def read(self, line):
        """One line that it has printed. A step that is done again has the
        same loss, and no step is left out."""
        begins = re.fullmatch(r"goes on after (\d+) steps\n", line)
        if begins:
            self.last = int(begins.group(1))
            self.began.append(self.last)
            return
        number, loss = re.fullmatch(r"step (\d+): loss (\S+)\n", line).groups()
        assert int(number) == self.last + 1, line
        assert self.losses.setdefault(int(number), loss) == loss, line
        self.last += 1

    def finish(self, process):
        """Its exit status."""
        out, self.errors = process.communicate(timeout=locald.GUARD_S)
        for line in out.splitlines(True):
            self.read(line)
        return process.returncode

    def run(self, *arguments):
        return self.finish(self.start(*arguments))

    def end(self):
        assert self.service.stop() == 0
        self.service.end()


def check(run, want, began):
    assert list(run.losses) == list(range(1, STEPS + 1)), run.losses
    assert run.losses == want, (run.losses, want)
    assert run.began == began, (run.began, began, run.errors)
    with open(run.file, encoding="utf-8") as f:
        steps, path = f.read().split()
    assert steps == str(STEPS) and path.startswith("tinker://"), path
    run.end()


def undisturbed():
    run = Run()
    assert run.run() == 0, run.errors
    assert len(set(run.losses.values())) == STEPS  # a repeated one is seen
    want = dict(run.losses)
    check(run, want, [0])
    return want


def program_killed(want):
    """In the first steps, and with a step in flight after a checkpoint."""
    run = Run()
    for step in (2, 7):
        assert run.run(str(step)) == -signal.SIGKILL
        assert max(run.losses) == step - 1
    assert run.run() == 0, run.errors
    check(run, want, [0, 0, 4])


def service_killed(want):
    """The program does not even notice."""
    run = Run()
    process = run.start()
    for _ in range(7):
        run.read(process.stdout.readline())
    run.service.kill()
    run.service.start()
    assert run.finish(process) == 0, run.errors
    check(run, want, [0])


def lost(want, rule, sentence):
    """The 7th step is lost: back to the checkpoint, in a new session."""
    run = Run(rule)
    assert run.run() == 0, run.errors
    assert re.search(sentence, run.errors), run.errors
    check(run, want, [0, 4])


def hopeless():
    """What the checkpoint can't mend ends the program, with the sentence."""
    run = Run({"endpoint": "create_model", "act": "status", "status": 422,
               "body": '{"detail": "lora_config: not today"}'})
    assert run.run() == 2
    assert "not today" in run.errors and not run.began, run.errors
    run.end()


def main():
    want = undisturbed()
    program_killed(want)
    service_killed(want)
    lost(want, {"endpoint": "optim_step", "nth": 7, "act": "session_gone"},
         "session")
    lost(want, {"endpoint": "optim_step", "nth": 7, "act": "corrupt"},
         "optim_step")
    lost(want, {"endpoint": "forward_backward", "nth": 7, "act": "status",
                "status": 401}, "401")
    hopeless()
    print("every run has the losses of the undisturbed one")


if __name__ == "__main__":
    main()
