"""tinker-recoverd serve: many runs of one policy file, which is read again while
they train.

  recover_serve.py LOCALD MODEL RECOVERD TRAINER"""
import json
import os
import signal
import sqlite3
import subprocess
import sys

sys.path.insert(0, os.path.dirname(__file__))
from recover_daemon import RECOVERD, TRAINER, Folder, locald

STEPS = 16


class Served(Folder):
    """A policy file with its runs."""

    def __init__(self):
        super().__init__()
        self.policy = os.path.join(self.service.dir, "policy.yaml")

    def write(self, runs, more="", hook=None):
        """runs: name -> words of its trainer."""
        lines = ["version: 1", "defaults:", "  attempts:",
                 "    backoff: {base: 100ms}"]
        if hook:
            lines += ["  notify:", f"    exec: {{argv: [{hook}, \"2\"],"
                      " timeout: 200ms}"]
        lines.append("runs:")
        for name, words in runs.items():
            argv = ", ".join([TRAINER, self.path, '"{lineage}"', str(STEPS),
                              *words])
            lines += [f"- match: {{name: {name}}}",
                      f"  trainer: {{argv: [{argv}], kill_after: 2s}}"]
        with open(self.policy, "w", encoding="utf-8") as f:
            f.write("\n".join([*lines, more, ""]))

    def command(self, *_, flags=(), **__):
        return [RECOVERD, "serve", "--state", self.path, self.policy]

    def states(self):
        return {r["run"]: r["state"] for r in self.ask("status")["runs"]}

    def until_states(self, **want):
        self.until(lambda: all(self.states().get(n) == s
                               for n, s in want.items()), want)

    def pid(self, name):
        return self.until(lambda: self.ask("status", name)["runs"][0].get(
            "pid"), "pid")

    def steps(self, name):
        return self.ask("status", name)["runs"][0]["step"]

    def started(self, name):
        return len([e for e in self.events("started") if e["run"] == name])


def committed(folder, name):
    """The losses of each step, from its journal."""
    done = subprocess.run([RECOVERD, "journal", "--state", folder.path, name],
                          capture_output=True, text=True, check=True).stdout
    lines = [line.split() for line in done.splitlines()]
    assert sum("EPOCH_ACTIVE" in line for line in lines) == 1, done
    return [(line[line.index("step") + 1], line[line.index("STEP_COMMIT") + 1])
            for line in lines if "STEP_COMMIT" in line]


def sighted(folder, name):
    """Has the daemon left what the service says of the run's model?"""
    path = os.path.join(folder.path, "runs", name)
    if not os.path.exists(path + "/sighting"):
        return False
    with open(path + "/sighting", encoding="utf-8") as f:
        seen = json.load(f)
    with sqlite3.connect(path + "/supervisor.db") as db:
        fields, = db.execute("SELECT fields FROM record WHERE type = 72")
    assert seen["model"] == json.loads(fields[0])["model"], seen
    assert seen["corrupted"] is False and seen["asked_ms"] > 0, seen
    return True


def runs():
    """Each of three has its own trainer, is killed, held, or left alone; all
    have the same losses, since they train the same. One that can't get on does
    the others no harm."""
    folder = Served()
    words = ["wait=10"]
    folder.write({"a": words, "b": words, "c": words, "broken": ["early=3"]})
    folder.start()
    folder.until(lambda: os.path.exists(folder.path + "/control"), "socket")
    folder.ask("hold", "c")
    folder.until_states(c="held")
    folder.until(lambda: folder.steps("a") > 3, "steps")
    folder.until(lambda: sighted(folder, "a"), "a sighting")
    folder.until(lambda: sighted(folder, "b"), "a sighting")
    os.kill(folder.pid("a"), signal.SIGKILL)
    folder.until_states(broken="exhausted")
    folder.ask("release", "c")
    folder.go()
    folder.until_states(a="finished", b="finished", c="finished")
    assert folder.started("a") == 2 and folder.started("broken") == 4
    want = committed(folder, "b")
    assert [int(step) for step, _ in want] == list(range(1, STEPS + 1)), want
    assert committed(folder, "a") == want
    assert committed(folder, "c") == want
    folder.ask("release", "broken")
    folder.until(lambda: folder.started("broken") == 8, "released")
    folder.until_states(broken="exhausted")
    folder.daemon.send_signal(signal.SIGTERM)
    assert folder.wait() == 0, folder.text()
    return folder


def started_again(folder):
    """The next daemon knows what has ended, and how."""
    folder.start()
    folder.until(lambda: os.path.exists(folder.path + "/control"), "socket")
    want = {"a": "finished", "b": "finished", "c": "finished",
            "broken": "exhausted"}
    assert folder.states() == want, folder.states()
    folder.daemon.send_signal(signal.SIGTERM)
    assert folder.wait() == 0, folder.text()
    folder.end()


def reload():
    """A file with a fault changes nothing and is named; a run that the file
    has no more is ended, and goes on when it is there again."""
    folder = Served()
    words = ["wait=10"]
    folder.write({"a": words})
    folder.start()
    folder.until(lambda: os.path.exists(folder.path + "/control"), "socket")
    folder.until(lambda: folder.steps("a") > 2, "steps")
    for text, what in (("  poll: 3", "line"),
                       ("- match: {name: z}", "trainer.argv: is missing"),
                       ("", "")):
        folder.write({"a": words, "b": words}, text)
        if what:
            answer = folder.ask("reload")
            assert not answer["ok"] and "policy.yaml:" in answer["why"], answer
            assert what == "line" or what in answer["why"], answer
            assert list(folder.states()) == ["a"], folder.states()
        else:
            assert folder.ask("reload")["ok"]
    folder.until(lambda: folder.steps("b") > 2, "steps")
    folder.write({"b": words})
    folder.daemon.send_signal(signal.SIGHUP)
    folder.until_states(a="left", b="running")
    folder.write({"a": words, "b": words})
    folder.go()
    folder.daemon.send_signal(signal.SIGHUP)
    folder.until_states(a="finished", b="finished")
    assert committed(folder, "a") == committed(folder, "b")
    assert folder.started("a") == 2 and folder.started("b") == 1
    folder.daemon.send_signal(signal.SIGTERM)
    assert folder.wait() == 0, folder.text()
    folder.end()


def hooks():
    """A program hears of a death, of a run that is given up and of one that is
    held. It is killed when its time is over; nothing waits for it."""
    folder = Served()
    heard, late = folder.path + ".heard", folder.path + ".late"
    hook = folder.path + ".sh"
    with open(hook, "w", encoding="utf-8") as f:
        f.write(f'#!/bin/sh\necho "$2" >> {heard}\nsleep "$1"\n'
                f'echo "$2" >> {late}\n')
    os.chmod(hook, 0o755)
    folder.write({"a": ["wait=10"], "broken": ["early=3"]}, hook=hook)
    folder.start()
    folder.until(lambda: os.path.exists(folder.path + "/control"), "socket")
    folder.until_states(broken="exhausted")
    folder.until(lambda: folder.steps("a") > 2, "steps")
    folder.ask("hold", "a")
    folder.until_states(a="held")
    folder.ask("release", "a")
    folder.go()
    folder.until_states(a="finished")

    def told():
        if not os.path.exists(heard):
            return []
        with open(heard, encoding="utf-8") as f:
            return [json.loads(line) for line in f]

    folder.until(lambda: len(told()) == 5, "hooks")
    causes = [e["facts"]["cause"] for e in told() if e["run"] == "broken"]
    assert causes == 3 * ["waiting"] + ["exhausted"], told()
    assert [e["event"] for e in told() if e["run"] == "a"] == ["HOLD"], told()
    assert not os.path.exists(late)
    folder.daemon.send_signal(signal.SIGTERM)
    assert folder.wait() == 0, folder.text()
    folder.end()


def refused():
    """Before anything is started."""
    folder = Served()
    for text, want in (("- match: {base_model: m}\n  trainer: {argv: [a]}",
                        "runs[1].match"), ("nonsense: 1", "nonsense")):
        folder.write({"a": []}, text)
        done = subprocess.run(folder.command(), capture_output=True, text=True,
                              timeout=locald.GUARD_S, check=False)
        assert done.returncode == 2 and want in done.stderr, done
    folder.write({"a": []})
    done = subprocess.run([RECOVERD, "check", folder.policy], text=True,
                          capture_output=True, check=True)
    assert "worst case of runs[0]" in done.stdout, done
    folder.end()


def main():
    started_again(runs())
    reload()
    hooks()
    refused()
    print("every run of the file has the same losses")


if __name__ == "__main__":
    main()
