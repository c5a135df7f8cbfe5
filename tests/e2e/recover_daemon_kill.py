"""tinker-recoverd is killed before, and after, every call of the system that makes
something durable, sends something, or starts or signals a process, while its
trainer dies once, or hangs once and has to be killed. The next daemon goes on
from whatever that left: no step is lost or taken twice, and never do two trainers
work.

  recover_daemon_kill.py LOCALD MODEL RECOVERD TRAINER KILL_AT.SO [all]

Without "all" every twelfth boundary of the first is tried."""
import os
import signal
import sys

sys.path.insert(0, os.path.dirname(__file__))
from recover_daemon import Folder, undisturbed

LIBRARY = sys.argv[5]
ALL = sys.argv[6:] == ["all"]
EVERY_NTH = 1 if ALL else 12
DIES = (["kill=9"], ())
HANGS = (["stop=9"], ("--hang-after", "1s", "--grace", "100ms"))


def run_until(folder, how, **env):
    """The daemon's exit status. Its trainer doesn't get the library."""
    folder.env.update(env, LD_PRELOAD=LIBRARY)
    try:
        return folder.run(*how[0], flags=how[1])
    finally:
        for name in (*env, "LD_PRELOAD"):
            del folder.env[name]


def calls(how):
    folder = Folder()
    path = os.path.join(folder.service.dir, "count")
    assert run_until(folder, how, TINKER_KILL_COUNT=path) == 0, folder.text()
    assert len(folder.events("started")) == 2, folder.text()
    with open(path, encoding="utf-8") as f:
        count = int(f.read())
    folder.end()
    return count


def boundaries(want, how):
    total = calls(how)
    tried = died = 0
    for at in range(1, total + 1, EVERY_NTH):
        folder = Folder()
        after = (at // EVERY_NTH) % 2
        status = run_until(folder, how, TINKER_KILL_AT=str(at),
                           TINKER_KILL_AFTER=str(after))
        assert status in (0, -signal.SIGKILL), (at, after, folder.text())
        died += status != 0
        assert folder.run(*how[0], flags=how[1]) == 0, (at, after,
                                                        folder.text())
        folder.check(want)
        # One that is refused the run's lock says so.
        assert "another process works" not in folder.text(), folder.text()
        tried += 1
        folder.end()
    assert died > tried // 2, (died, tried)
    print(f"{how[0][0]}: {tried} of {total} boundaries, {died} deaths: no step"
          " lost", flush=True)


def main():
    want = undisturbed()
    boundaries(want, DIES)
    if ALL:
        boundaries(want, HANGS)


if __name__ == "__main__":
    main()
