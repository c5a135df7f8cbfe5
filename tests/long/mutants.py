#!/usr/bin/env python3
"""Breaks the protocol of recovery on purpose, one way after the other, and
demands that the tests notice each.

    mutants.py --check                 every mutant still fits the sources
    mutants.py BUILD [NAME...]         builds and tests the mutants named, or all

A mutant is a patch of one fault in tests/long/mutants: a sentence, the tests
that have noticed it ("Noticed by:"), and the change. Its place is found by the
lines of the change alone, which have to be in the file once: line numbers may
be off. BUILD is a folder for a copy of the sources and its build; it is made,
and used again. A mutant is noticed by the first test that fails; its own are
tried first, then all the others. One that all tests pass has survived: a test
is missing, and this program fails.
"""
import argparse
import os
import pathlib
import shutil
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
PATCHES = ROOT / "tests" / "long" / "mutants"
COPIED = ["CMakeLists.txt", "CMakePresets.json", "bench", "cmake", "demo", "docs", "examples",
          "include", "local", "recovery", "scripts", "src", "tests", "tools"]
# Cheap ones first: they notice most.
TESTS = ["unit/recovery", "unit/recoverd", "sim/faults", "unit/db", "e2e/recover_ruled",
         "e2e/recover_proof", "e2e/recover_keep", "e2e/recover_faults", "e2e/recover_behind",
         "e2e/recover_monitor", "e2e/recover_host", "e2e/recover_daemon", "e2e/recover_kill",
         "e2e/recover_back", "e2e/recover_daemon_kill", "sim/random"]
BUILT = ["unit_recovery", "unit_recoverd", "unit_db", "recover_play", "tinker-locald",
         "tinker-recoverd", "tinker-sim", "run_trainer", "prove_resume", "recover_release",
         "kill_at"]


class Mutant:
    def __init__(self, path):
        self.name = path.stem
        head, _, diff = path.read_text().partition("\n--- ")
        lines = head.splitlines()
        self.says = lines[0]
        noticed = [line for line in lines if line.startswith("Noticed by: ")]
        self.noticed = noticed[0].split(": ", 1)[1].split() if noticed else []
        self.file, self.changes = read_diff(diff)

    def apply(self, root):
        """Changes the file; returns what it was."""
        path = root / self.file
        before = text = path.read_text()
        for old, new in self.changes:
            if text.count(old) != 1:
                raise ValueError(f"{self.name}: {self.file} has {text.count(old)} places for it")
            text = text.replace(old, new)
        path.write_text(text)
        return before


def read_diff(diff):
    """The file of a unified diff without its first four characters, and the
    texts that it replaces."""
    lines = diff.splitlines()
    file = lines[1].removeprefix("+++ b/")
    changes = []
    for line in lines[2:]:
        if line.startswith("@@"):
            changes.append(("", ""))
            continue
        old, new = changes[-1]
        sign, text = line[:1] or " ", line[1:] + "\n"
        changes[-1] = (old + (text if sign in " -" else ""), new + (text if sign in " +" else ""))
    return file, changes


def copy_sources(to):
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, to / name, symlinks=True, dirs_exist_ok=True)
        elif source.exists():
            shutil.copy2(source, to / name)


def build(to, log):
    done = subprocess.run(["cmake", "--build", to / "build", "--target", *BUILT],
                          stdout=log, stderr=log, check=False)
    return done.returncode == 0


def configure(to, log):
    python = os.environ.get("TINKER_TEST_PYTHON", sys.executable)
    subprocess.run(["cmake", "-S", to, "-B", to / "build", "-G", "Ninja",
                    "-DCMAKE_BUILD_TYPE=RelWithDebInfo", f"-DTINKER_TEST_PYTHON={python}"],
                   stdout=log, stderr=log, check=True)


def fails(to, test, log):
    done = subprocess.run(["ctest", "--test-dir", to / "build", "--timeout", "600",
                           "--no-tests=error", "-R", f"^{test}$"],
                          stdout=log, stderr=log, check=False)
    return done.returncode != 0


def try_mutant(to, mutant, log):
    """The test that has noticed it, or None."""
    before = mutant.apply(to)
    try:
        if not build(to, log):
            raise ValueError(f"{mutant.name}: it can't be compiled")
        order = mutant.noticed + [test for test in TESTS if test not in mutant.noticed]
        return next((test for test in order if fails(to, test, log)), None)
    finally:
        (to / mutant.file).write_text(before)


def check(mutants):
    wrong = []
    for mutant in mutants:
        text = (ROOT / mutant.file).read_text()
        for old, _ in mutant.changes:
            if text.count(old) != 1:
                wrong.append(f"{mutant.name}: {mutant.file} has {text.count(old)} places for it")
        if not mutant.noticed or not set(mutant.noticed) <= set(TESTS):
            wrong.append(f"{mutant.name}: which tests have noticed it?")
    return wrong


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--check", action="store_true")
    parser.add_argument("build", nargs="?")
    parser.add_argument("names", nargs="*")
    args = parser.parse_args()
    mutants = [Mutant(path) for path in sorted(PATCHES.glob("*.patch"))]
    if args.check:
        wrong = check(mutants)
        print("\n".join(wrong + [f"{len(mutants)} mutants"]))
        return 1 if wrong or not mutants else 0
    to = pathlib.Path(args.build).resolve()
    to.mkdir(parents=True, exist_ok=True)
    copy_sources(to)
    survived = []
    with open(to / "log", "w", encoding="utf-8") as log:
        configure(to, log)
        if not build(to, log):
            sys.exit(f"the sources as they are can't be built: {to}/log")
        for mutant in mutants:
            if args.names and mutant.name not in args.names:
                continue
            since = time.monotonic()
            by = try_mutant(to, mutant, log)
            survived += [] if by else [mutant.name]
            print(f"{mutant.name}: {'noticed by ' + by if by else 'SURVIVED'}"
                  f" ({time.monotonic() - since:.0f} s): {mutant.says}", flush=True)
    print(f"{len(survived)} survived: {' '.join(survived)}" if survived else "none survived")
    return 1 if survived else 0


if __name__ == "__main__":
    sys.exit(main())
