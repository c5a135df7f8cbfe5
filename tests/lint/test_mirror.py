#!/usr/bin/env python3
"""Tests mirror the tree: src/X/y.c and local/X/y.c have tests/unit/X/test_y.c,
recovery/X/y.c has tests/unit/recovery/X/test_y.c. tests/unit/X may also be of
tests/X, a part of the tests that needs some itself.
A file x_y.c may be tested with its x.c, in test_x.c. Whatever else has its
tests elsewhere stands in the table of tests/unit/README.md with the place.

Refused: a source file with neither; a row of the table without need, without
such a source file, or whose place is not there; tests in a folder that the
tree does not have."""
import itertools
import pathlib
import re
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
ROW = re.compile(r"^\| `([^`]+)` \| ([^|]+) \|")


TOPS = ("src", "local", "recovery")


def mirrored(folder):
    """The folder of tests/unit for a folder of the tree."""
    return folder if folder.parts[0] == "recovery" else \
        pathlib.Path(*folder.parts[1:])


def own_test(root, source):
    """The test of a source file in the folder that mirrors its own."""
    folder = root / "tests/unit" / mirrored(source.parent)
    words = source.stem.split("_")
    for n in range(len(words), 0, -1):
        test = folder / f"test_{'_'.join(words[:n])}.c"
        if test.exists():
            return test
    return None


def expand(text):
    """a/{b,c}.c is a/b.c and a/c.c."""
    parts = [p.split(",") for p in re.split(r"\{([^}]*)\}", text)[1::2]]
    fixed = re.split(r"\{[^}]*\}", text)
    for choice in itertools.product(*parts):
        yield "".join(itertools.chain(*itertools.zip_longest(
            fixed, choice, fillvalue="")))


def rows(root):
    """(source file, places) of the table."""
    for line in (root / "tests/unit/README.md").read_text().splitlines():
        if match := ROW.match(line):
            places = re.findall(r"`([^`]+)`", match.group(2))
            for name in expand(match.group(1)):
                yield name, places


def faults(root):
    sources = {str(p.relative_to(root)): p.relative_to(root)
               for top in TOPS for p in (root / top).rglob("*.c")}
    listed = set()
    for name, places in rows(root):
        listed.add(name)
        if name not in sources:
            yield f"tests/unit/README.md: there is no {name}"
        elif own_test(root, sources[name]):
            yield f"tests/unit/README.md: {name} has a test of its own"
        for place in places or ["a place"]:
            if not (root / "tests" / place).exists():
                yield f"tests/unit/README.md: {name}: no tests/{place}"
    for name in sorted(set(sources) - listed):
        if not own_test(root, sources[name]):
            yield f"{name}: no test of its own, and not in tests/unit/README.md"
    for test in sorted((root / "tests/unit").rglob("test_*.c")):
        folder = test.parent.relative_to(root / "tests/unit")
        homes = [folder] if folder.parts[0] == "recovery" else \
            ["src" / folder, "local" / folder, "tests" / folder]
        if not any((root / home).is_dir() for home in homes):
            yield f"{test.relative_to(root)}: the tree has no {folder}"


def check_itself():
    """A small tree with a fault of each kind."""
    with tempfile.TemporaryDirectory() as name:
        root = pathlib.Path(name)
        for path in ("src/a/b.c", "src/a/b_more.c", "src/a/c.c", "local/d.c",
                     "recovery/a/g.c", "recovery/a/h.c",
                     "tests/unit/recovery/a/test_g.c",
                     "tests/unit/recovery/z/test_h.c",
                     "tests/unit/a/test_b.c", "tests/unit/e/test_f.c"):
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).touch()
        table = root / "tests/unit/README.md"
        table.write_text("| `src/a/{b,z}.c` | `unit/a/test_b.c` | why |\n"
                         "| `local/d.c` | `unit/nowhere.c` | why |\n")
        assert list(faults(root)) == [
            "tests/unit/README.md: src/a/b.c has a test of its own",
            "tests/unit/README.md: there is no src/a/z.c",
            "tests/unit/README.md: local/d.c: no tests/unit/nowhere.c",
            "recovery/a/h.c: no test of its own, and not in "
            "tests/unit/README.md",
            "src/a/c.c: no test of its own, and not in tests/unit/README.md",
            "tests/unit/e/test_f.c: the tree has no e",
            "tests/unit/recovery/z/test_h.c: the tree has no recovery/z",
        ], list(faults(root))


def main():
    check_itself()
    found = list(faults(ROOT))
    print("\n".join(found) or "mirror: ok")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
