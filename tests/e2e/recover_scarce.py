"""A run without memory, threads or descriptors (F76), from its opening to its
last commit: what can't be done ends with an error, and nothing else; the same
run, opened again with enough, has the losses of the undisturbed one.

  recover_scarce.py LOCALD MODEL PROGRAM [all]

Without "all" a few allocations fail, and not each."""
import os
import resource
import sys

from recover_faults import Run, undisturbed

ALL = sys.argv[4:] == ["all"]
SETTINGS = ["steps", 3, "every", 1]


def limited(run, env, files=None):
    def few():
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    os.environ.update(env)
    try:
        return run.finish(run.start(preexec_fn=few if files else None))
    finally:
        for name in env:
            del os.environ[name]


def counts():
    run = Run((), SETTINGS)
    path = os.path.join(run.service.dir, "count")
    assert limited(run, {"TINKER_COUNT": path}) == 0, run.errors
    with open(path, encoding="utf-8") as f:
        found = [int(n) for n in f.read().split()]
    run.end()
    return found


class Shortages:
    def __init__(self):
        self.tried, self.failed = 0, 0

    def with_one(self, env, files=None):
        run = Run((), SETTINGS)
        status = limited(run, env, files)
        assert status in (0, 1), (env, files, status, run.errors)
        self.tried += 1
        self.failed += status
        # Whoever gives up says why: no memory, no thread, no file.
        assert not status or "TINKER_" in run.errors, (env, run.errors)
        assert run.run() == 0, (env, files, run.errors)
        assert run.committed() == undisturbed(SETTINGS), (env, run.errors)
        assert not run.said("rollback"), (env, files, run.errors)
        run.end()

    def end(self, what):
        assert self.failed > 0, what
        print(f"{what}: {self.failed} of {self.tried} shortages ended the "
              "program, no step was lost", flush=True)


def main():
    allocations, threads = counts()
    s = Shortages()
    for n in range(1, allocations, 1 if ALL else allocations // 6):
        s.with_one({"TINKER_FAIL_ALLOC": str(n)})
    for n in range(1, allocations, max(allocations // (200 if ALL else 2), 1)):
        s.with_one({"TINKER_FAIL_ALLOCS": str(n)})
    s.end("allocations")
    s = Shortages()
    for n in range(1, threads + 1):
        s.with_one({"TINKER_FAIL_THREAD": str(n)})
    s.end("threads")
    s = Shortages()
    # With a few more it would have all but its connections, and try for those
    # for minutes.
    for n in range(4, 16, 1 if ALL else 5):
        s.with_one({}, n)
    s.end("descriptors")


if __name__ == "__main__":
    main()
