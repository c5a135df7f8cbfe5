#!/usr/bin/env python3
"""The times of docs/waiting.md are those of the source.

  tests/lint/test_waiting.py

A row of the table whose last cell is `FILE` NAME must have, in its second cell,
every number that FILE gives to NAME: as "#define NAME 60000", "NAME = 60000" or
"[NAME] = {250, 20000, ...}". They are milliseconds, seconds if NAME ends with _s
or _S, and stand in the table in the largest unit that fits.
"""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
UNITS = ((3600000, "h"), (60000, "min"), (1000, "s"), (1, "ms"))
ROW = re.compile(r"^\|(.*)\| `([\w./]+)` (\w+) \|$", re.M)


def numbers(text, name):
    """What a source file gives to a name, in milliseconds."""
    found = re.search(rf"(?:#define {name} |\b{name} = |\[{name}\] = \{{)"
                      r"(\d+)L?(?:, (\d+))?", text)
    scale = 1000 if name.lower().endswith("_s") else 1
    return [int(n) * scale for n in found.groups() if n] if found else []


def shown(ms):
    """60000 may be said in minutes or in seconds."""
    return {f"{ms // unit} {word}" for unit, word in UNITS if ms % unit == 0}


def faults(page, read):
    out = []
    for cells, path, name in ROW.findall(page):
        time = cells.split("|")[1]
        said = set(re.findall(r"\d+ (?:h|min|s|ms)\b", time))
        values = numbers(read(path), name)
        if not values:
            out.append(f"{path} has no number for {name}")
        out += [f"{name} is {ms} ms, the page says {time.strip()}"
                for ms in values if not said & shown(ms)]
    return out


def check_itself():
    """A number that differs, and one that is gone, are seen."""
    page = "| x | 60 s to 5 min | | `a.c` LIMIT_MS |\n"
    for text, count in (("#define LIMIT_MS 60000", 0), (".LIMIT_MS = 6", 1),
                        ("[LIMIT_MS] = {60000, 300000}", 0),
                        ("[LIMIT_MS] = {60000, 300001}", 1), ("", 1)):
        assert len(faults(page, lambda _: text)) == count, text
    assert faults("| x | 20 s | `a.c` AGE_S |\n", lambda _: "#define AGE_S 20L"
                  ) == []


def main():
    check_itself()
    page = (ROOT / "docs/waiting.md").read_text(encoding="utf-8")
    found = faults(page, lambda path: (ROOT / path).read_text("utf-8"))
    for fault in found:
        print(fault)
    rows = len(ROW.findall(page))
    print(f"test_waiting: {rows} rows, {len(found)} faults")
    return 1 if found or rows < 10 else 0


if __name__ == "__main__":
    sys.exit(main())
