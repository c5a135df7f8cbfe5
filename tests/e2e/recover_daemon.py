"""tinker-recoverd: a trainer that dies, hangs or is ended is started again, and
every loss has the bits of an undisturbed run.

  recover_daemon.py LOCALD MODEL RECOVERD TRAINER"""
import json
import os
import random
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
import locald

RECOVERD, TRAINER = sys.argv[3:5]
NAME, STEPS = "numbers", 24
EPOCH_ACTIVE, INC_STOP = 72, 79


class Folder:
    """A service, a state folder, and daemons on it, one after the other."""

    def __init__(self, *flags, rules=()):
        self.service = locald.Service(*sys.argv[1:3],
                                      ["--poll-ms", "300", *flags])
        if rules:
            self.service.add_plan(rules)
        self.service.start()
        self.path = os.path.join(self.service.dir, "recovery")
        self.out = os.path.join(self.service.dir, "out")
        self.errors = os.path.join(self.service.dir, "errors")
        self.env = {**os.environ, "TINKER_MODEL": "m",
                    "TINKER_BASE_URL": "unix:" + self.service.socket}
        self.daemon = None

    def command(self, *words, flags=(), steps=STEPS):
        return [RECOVERD, "run", "--state", self.path, "--name", NAME,
                "--backoff-base", "20ms", "--max-restarts", "20", *flags, "--",
                TRAINER, self.path, NAME, str(steps), *words]

    def start(self, *words, flags=(), steps=STEPS):
        with open(self.out, "a", encoding="utf-8") as out, \
                open(self.errors, "a", encoding="utf-8") as errors:
            self.daemon = subprocess.Popen(
                self.command(*words, flags=flags, steps=steps), stdout=out,
                stderr=errors, env=self.env)

    def wait(self):
        return self.daemon.wait(timeout=locald.GUARD_S)

    def go(self):
        """Trainers with wait=STEP go on."""
        with open(self.path + ".go", "w", encoding="utf-8"):
            pass

    def run(self, *words, **more):
        self.start(*words, **more)
        return self.wait()

    def events(self, name=None):
        with open(self.errors, encoding="utf-8") as f:
            lines = [json.loads(l) for l in f.read().splitlines(True)
                     if l.startswith("{") and l.endswith("\n")]
        return [l for l in lines if name in (None, l["event"])]

    def until(self, ready, what):
        end = time.monotonic() + locald.GUARD_S
        while time.monotonic() < end:
            found = ready()
            if found:
                return found
            time.sleep(0.005)
        raise TimeoutError(what + self.text())

    def text(self):
        with open(self.errors, encoding="utf-8") as f:
            return f.read()[-4000:]

    def trainer(self, count):
        """The pid of the count-th process."""
        started = self.until(
            lambda: self.events("started")[count - 1:], "started")
        return started[0]["facts"]["pid"]

    def losses(self):
        """Of each step; one that was done again has the same."""
        found = {}
        with open(self.out, encoding="utf-8") as f:
            for line in f:
                step, loss = re.fullmatch(r"step (\d+): loss (\S+)\n",
                                          line).groups()
                assert found.setdefault(int(step), loss) == loss, line
        return found

    def rows(self, name, kind):
        path = os.path.join(self.path, "runs", NAME, name + ".db")
        with sqlite3.connect(path) as db:
            return [(step, json.loads(fields)) for step, fields in db.execute(
                "SELECT step, fields FROM record WHERE type = ? ORDER BY id",
                (kind,))]

    def check(self, want):
        """No step is lost, none is taken twice, none went back. What was
        committed right before a death was never printed."""
        active = self.rows("supervisor", EPOCH_ACTIVE)
        assert len(active) == 1, active
        steps = self.rows("e%d" % active[0][1]["epoch"], 27)
        assert [step for step, _ in steps] == list(range(1, STEPS + 1)), steps
        found = {step: fields["loss"] for step, fields in steps}
        if want:
            assert found == want, (found, want)
        self.losses()
        return found

    def ask(self, *words):
        """What the control socket answers."""
        done = subprocess.run([RECOVERD, "ctl", self.path, *words], text=True,
                              capture_output=True, timeout=locald.GUARD_S)
        if not done.stdout:
            raise AssertionError(done.stderr)
        answer = json.loads(done.stdout)
        assert answer["ok"] == (done.returncode == 0), done
        return answer

    def state(self):
        return self.ask("status")["runs"][0]["state"]

    def end(self):
        if self.daemon and self.daemon.poll() is None:
            self.daemon.kill()
            self.daemon.wait()
        assert self.service.stop() == 0
        self.service.end()


def undisturbed():
    folder = Folder()
    assert folder.run() == 0, folder.text()
    want = folder.check(None)
    assert len(set(want.values())) == STEPS
    assert [e["event"] for e in folder.events("ended")] == ["ended"]
    folder.end()
    return want


def killed(want):
    """Ten times, at any moment. How long a restart takes is printed."""
    folder = Folder()
    chance = random.Random(1)
    folder.start("pause=60", "wait=22")
    at = []
    for count in range(1, 11):
        pid = folder.trainer(count)
        time.sleep(chance.uniform(0, 0.25))
        at.append(time.time() * 1000)
        os.kill(pid, signal.SIGKILL)
    folder.go()
    assert folder.wait() == 0, folder.text()
    folder.check(want)
    ended = [e["wall_ms"] for e in folder.events("ended")]
    started = [e["wall_ms"] for e in folder.events("started")][1:]
    assert len(started) == 10, folder.text()
    seen = sorted(e - a for a, e in zip(at, ended))
    print(f"death to detection: median {seen[len(seen) // 2]:.0f} ms,"
          f" longest {seen[-1]:.0f} ms of {len(seen)}")
    again = sorted(s - a for a, s in zip(at, started))
    print(f"death to restart: median {again[len(again) // 2]:.0f} ms")
    folder.end()


def service_killed(want):
    """With the trainer, and alone."""
    folder = Folder()
    folder.start("pause=30", "wait=20")
    for count in (1, 2):
        pid = folder.trainer(count)
        steps = len(folder.losses())
        folder.until(lambda: len(folder.losses()) > steps + 3, "steps")
        folder.service.kill()
        os.kill(pid, signal.SIGKILL)
        folder.service.start()
    folder.until(lambda: len(folder.losses()) > 12, "steps")
    folder.service.kill()
    folder.service.start()
    folder.go()
    assert folder.wait() == 0, folder.text()
    folder.check(want)
    folder.end()


def workers(want):
    """Two that were forked after the run was opened outlive the trainer: they
    don't have its lock."""
    folder = Folder()
    folder.start("wait=10", "workers=2")
    pid = folder.trainer(1)
    folder.until(lambda: len(folder.losses()) > 2, "steps")
    os.kill(pid, signal.SIGKILL)
    folder.go()
    assert folder.wait() == 0, folder.text()
    folder.check(want)
    with open(folder.path + ".workers", encoding="utf-8") as f:
        pids = [int(line) for line in f]
    assert len(pids) == 4, pids
    for worker in pids:  # each is there still
        os.kill(worker, signal.SIGKILL)
    assert len(folder.events("started")) == 2, folder.text()
    folder.end()


def exit_codes():
    """0 is the end only after the last step; 75 and 93 are for good; what dies
    without progress is tried so often."""
    for word, code, starts in (("early=75", 75, 1), ("early=93", 93, 1),
                               ("early=3", 75, 4), ("exit=5:0", 93, 2),
                               ("exit=5:9", 75, 4)):
        folder = Folder()
        found = folder.run(word, flags=("--max-restarts", "3"))
        assert found == code, (word, found, folder.text())
        assert len(folder.events("started")) == starts, folder.text()
        folder.end()


def asleep(want):
    """Daemon and trainer were stopped together, as by a machine that sleeps:
    that is no hang."""
    folder = Folder()
    folder.start("wait=10", "pause=20", flags=("--hang-after", "6s"))
    pids = folder.trainer(1), folder.daemon.pid
    folder.until(lambda: len(folder.losses()) == 9, "steps")
    time.sleep(1.5)  # the daemon has seen them
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    time.sleep(8)
    folder.go()
    for pid in reversed(pids):
        time.sleep(0.5)
        os.kill(pid, signal.SIGCONT)
    assert folder.wait() == 0, folder.text()
    assert folder.events("slept") and not folder.events("hang"), folder.text()
    folder.check(want)
    folder.end()


def stopped():
    """A run that has stopped itself stays so until an operator has said
    otherwise. Here its model is lost before the first checkpoint."""
    folder = Folder(rules=[{"endpoint": "optim_step", "nth": 2,
                            "act": "corrupt"}])
    for starts in (1, 2):
        assert folder.run() == 93, folder.text()
        assert len(folder.events("started")) == starts, folder.text()
        assert "no checkpoint" in folder.events("ended")[-1]["facts"]["why"]
    words = ["release", "--state", folder.path]
    done = subprocess.run([RECOVERD, *words, NAME], capture_output=True,
                          text=True, check=True)
    assert not done.stdout + done.stderr, done
    assert len(folder.rows("supervisor", INC_STOP)) == 1
    assert folder.run() == 93, folder.text()  # it has tried again
    assert len(folder.rows("supervisor", INC_STOP)) == 2
    done = subprocess.run([RECOVERD, *words, "other"], capture_output=True,
                          text=True, check=False)
    assert done.returncode == 3 and "no such run" in done.stderr, done
    folder.end()


def hang(want):
    """A trainer that is stopped is found out by its journal, which says
    nothing more, and killed, since it does not end."""
    folder = Folder()
    assert folder.run("stop=7", flags=("--hang-after", "2s", "--grace",
                                       "300ms")) == 0, folder.text()
    folder.check(want)
    found, = folder.events("hang")
    assert "run_trainer T" in found["facts"]["evidence"], found
    assert [e["facts"]["signal"] for e in folder.events("signal")] == \
        [signal.SIGTERM, signal.SIGKILL], folder.text()
    folder.end()


def ended_and_started(want):
    """SIGTERM ends both; the same command goes on with the same model. What is
    not allowed, and an open descriptor, doesn't get to the trainer."""
    folder = Folder()
    folder.env["SECRET_OF_THE_HOST"] = "x"
    folder.env["LC_TESTED"] = "x"
    env, fds = folder.path + ".env", folder.path + ".fds"
    for last in (5, 12):
        folder.start("pause=30", "wait=20", "env=" + env, "fds=" + fds,
                     flags=("--env", "LC_*"))
        folder.until(lambda: len(folder.losses()) >= last, "steps")
        pid = folder.events("started")[-1]["facts"]["pid"]
        folder.daemon.send_signal(signal.SIGTERM)
        assert folder.wait() == 0, folder.text()
        assert not os.path.exists(f"/proc/{pid}"), pid
    assert folder.run() == 0, folder.text()
    folder.check(want)
    with open(env, encoding="utf-8") as f:
        names = set(f.read().split())
    assert "TINKER_BASE_URL" in names and "LC_TESTED" in names, names
    assert names <= {"PATH", "HOME", "LANG", "LC_TESTED"} | {
        n for n in names if n.startswith(("TINKER_", "LC_"))}, names
    with open(fds, encoding="utf-8") as f:
        assert f.read().split() == ["0", "1", "2"]
    folder.end()


def second_daemon():
    folder = Folder()
    folder.start("wait=5")
    folder.trainer(1)
    second = subprocess.run(folder.command(), env=folder.env, text=True,
                            capture_output=True, timeout=locald.GUARD_S)
    assert second.returncode == 4, second
    assert "another daemon" in second.stderr, second.stderr
    folder.daemon.send_signal(signal.SIGTERM)
    assert folder.wait() == 0
    folder.end()


def lock_taken(want):
    """A daemon whose lock file is gone may be one of two: it ends, and leaves
    its trainer to the next one."""
    folder = Folder()
    folder.start("wait=5")
    pid = folder.trainer(1)
    os.unlink(folder.path + "/daemon.lock")
    assert folder.wait() == 1, folder.text()
    folder.start()
    found, = folder.until(lambda: folder.events("found"), "found")
    assert found["facts"]["pid"] == pid
    folder.go()
    assert folder.wait() == 0, folder.text()
    folder.check(want)
    folder.end()


def daemon_killed(want):
    """Its trainer trains on, and the next daemon watches it: it is started
    again when it dies, and its own end is seen in its journal. If it died in
    between, the next daemon starts it at once."""
    folder = Folder()
    folder.start("pause=30", "wait=20")
    first = folder.trainer(1)
    folder.until(lambda: len(folder.losses()) > 2, "steps")
    folder.daemon.kill()
    folder.wait()
    folder.start("pause=30", "wait=20")
    found, = folder.until(lambda: folder.events("found"), "found")
    assert found["facts"]["pid"] == first
    os.kill(first, signal.SIGKILL)
    second = folder.trainer(2)
    folder.until(lambda: len(folder.losses()) > 6, "steps")
    folder.daemon.kill()
    folder.wait()
    os.kill(second, signal.SIGKILL)
    folder.start("pause=30", "wait=20")
    folder.trainer(3)
    folder.daemon.kill()
    folder.wait()
    folder.start()
    folder.until(lambda: len(folder.events("found")) == 2, "found")
    folder.go()
    assert folder.wait() == 0, folder.text()
    assert len(folder.events("started")) == 3, folder.text()
    folder.check(want)
    folder.end()


def held(want):
    """A run that an operator holds has no trainer, whatever daemon works; its
    session lives on, longer than the service waits for heartbeats, because the
    daemon sends them. Then it goes on with the same model."""
    folder = Folder("--session-timeout", "16")
    folder.start("wait=20")
    pid = folder.trainer(1)
    folder.until(lambda: len(folder.losses()) > 2, "steps")
    folder.ask("hold", NAME)
    folder.until(lambda: folder.state() == "held", "held")
    assert not os.path.exists(f"/proc/{pid}")
    folder.daemon.send_signal(signal.SIGTERM)
    assert folder.wait() == 0
    folder.start("wait=20")
    folder.until(lambda: os.path.exists(folder.path + "/control"), "socket")
    assert folder.state() == "held"
    time.sleep(20)
    folder.ask("release", NAME)
    folder.go()
    assert folder.wait() == 0, folder.text()
    assert len(folder.events("started")) == 2, folder.text()
    folder.check(want)
    folder.end()


def control(want):
    """What the socket says, to whom."""
    folder = Folder()
    folder.start("wait=20")
    pid = folder.trainer(1)
    path = os.path.join(folder.path, "control")
    assert os.stat(path).st_mode & 0o777 == 0o600
    folder.until(lambda: len(folder.losses()) > 2, "steps")
    run, = folder.ask("status", NAME)["runs"]
    assert run["state"] == "running" and run["pid"] == pid, run
    assert run["step"] > 2 and run["session"] and run["epoch"] == 1, run
    assert folder.ask("runs")["runs"] == [NAME]
    for words in (("hold",), ("hold", "x"), ("dance",), ("reload",)):
        answer = folder.ask(*words)
        assert not answer["ok"] and answer["why"], (words, answer)
    with socket.socket(socket.AF_UNIX) as c:
        c.connect(path)
        c.settimeout(locald.GUARD_S)
        c.sendall(b"[]\n{}\n")
        answers = c.makefile()
        for _ in range(2):
            assert not json.loads(answers.readline())["ok"]
        c.sendall(b"x" * 10000)
        try:
            assert c.recv(10) == b""
        except ConnectionResetError:
            pass
    journal = subprocess.run([RECOVERD, "journal", "--state", folder.path,
                              NAME], capture_output=True, text=True, check=True)
    lines = journal.stdout.splitlines()
    times = [line.split()[0] for line in lines]
    assert times == sorted(times), journal.stdout
    for want_line in (r"\S+Z  daemon +ATTEMPT_BEGIN .*pid=%d " % pid,
                      r"\S+Z  run +step 0 +EPOCH_ACTIVE +epoch=1 ",
                      r"\S+Z  e1 +step 2 +STEP_COMMIT +loss=\d+\.\d+ "):
        assert any(re.match(want_line, line + " ") for line in lines), \
            (want_line, journal.stdout)
    folder.ask("stop", NAME)
    assert folder.wait() == 93, folder.text()
    assert not os.path.exists(path)
    assert folder.run() == 0, folder.text()  # the operator starts it anew
    folder.check(want)
    folder.end()


def service_manager(want):
    """It hears when the daemon is ready, lives, and ends."""
    folder = Folder()
    path = os.path.join(folder.service.dir, "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        s.bind(path)
        s.settimeout(locald.GUARD_S)
        folder.env.update(NOTIFY_SOCKET=path, WATCHDOG_USEC="200000")
        folder.start("wait=20")
        assert s.recv(100) == b"READY=1"
        for _ in range(3):
            assert s.recv(100) == b"WATCHDOG=1"
        folder.daemon.send_signal(signal.SIGTERM)
        heard = s.recv(100)
        while heard == b"WATCHDOG=1":
            heard = s.recv(100)
        assert heard == b"STOPPING=1"
    assert folder.wait() == 0
    del folder.env["NOTIFY_SOCKET"]
    assert folder.run() == 0, folder.text()
    folder.check(want)
    folder.end()


class Beside(threading.Thread):
    """A test that waits for most of its time."""

    def __init__(self, test, *arguments):
        super().__init__()
        self.test, self.arguments, self.trouble = test, arguments, None
        self.start()

    def run(self):
        try:
            self.test(*self.arguments)
        except BaseException as e:  # handed over
            self.trouble = e

    def end(self):
        self.join()
        if self.trouble:
            raise self.trouble


def main():
    want = undisturbed()
    beside = [Beside(held, want), Beside(asleep, want)]
    killed(want)
    service_killed(want)
    workers(want)
    exit_codes()
    stopped()
    hang(want)
    ended_and_started(want)
    second_daemon()
    lock_taken(want)
    daemon_killed(want)
    control(want)
    service_manager(want)
    for test in beside:
        test.end()
    print("every run has the losses of the undisturbed one")


if __name__ == "__main__":
    main()
