#!/usr/bin/env python3
"""docs/errors.md says what tests/api/error_cases.h says, and names every code.

  tests/lint/test_errors.py [--fix]

The table of cases stands between two comments of the page; --fix writes it. The
table of codes must have a row for each line of TINKER_ERROR_MAP.
"""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/errors.md"
CASES = ROOT / "tests/api/error_cases.h"
CODES = ROOT / "include/tinker/error.h"
BEGIN = ("<!-- table of tests/api/error_cases.h: "
         "tests/lint/test_errors.py --fix -->\n")
END = "<!-- end -->\n"
CASE = re.compile(r'^CASE\((\w+),\s+(\w+)\((.*?)\),\s+(\w+),\s+(\w+),'
                  r'\s+"(\w*)"\)$', re.M | re.S)
EVENTS = {
    ("UNSENT", "ECONNECT"): "no connection",
    ("UNSENT", "ETLS"): "TLS fails",
    ("LOST", "ETRANSPORT"): "the connection breaks",
    ("LOST", "ETIMEDOUT"): "no answer in time",
}
ADVICE = {"r": "retriable", "f": "fatal", "u": "outcome unknown",
          "n": "needs recovery"}


def event(kind, rest):
    if (kind, rest) in EVENTS:
        return EVENTS[kind, rest]
    if kind == "PAGE":
        return f"{rest}, a page of something in between"
    first, _, text = rest.partition(", ")
    text = text.strip().strip('"')
    if kind == "JSON":
        return f"{first} {text}"
    if kind == "BODY":
        return f"{first}, {'empty' if not text else text}"
    if kind == "ENDED":
        return f"failed ({first.strip(chr(34))}): {text}"
    raise ValueError(f"{CASES}: {kind}({rest}) is not known")


def table(text):
    rows = ["| Call | What happens | Code | Category | Advice |",
            "|---|---|---|---|---|"]
    found = CASE.findall(text)
    if len(found) != len(re.findall(r"^CASE\(", text, re.M)):
        raise ValueError(f"{CASES}: a case can't be read")
    for moment, kind, rest, code, category, advice in found:
        call = moment.replace("_", " ") if moment.startswith("behind") \
            else re.sub("_result$", " result", moment)
        words = ", ".join(ADVICE[letter] for letter in advice)
        rows.append(f"| {call} | {event(kind, rest)} | {code} | "
                    f"{category.lower()} | {words} |")
    return "\n".join(rows) + "\n"


def check(page, cases, codes):
    """The page as it should be, and what is wrong with it."""
    faults = []
    head, begin, rest = page.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        return page, [f"{PAGE}: the marks of the table are missing"]
    fixed = head + begin + table(cases) + end + tail
    if fixed != page:
        faults.append(f"{PAGE}: the table differs from {CASES}: "
                      "run tests/lint/test_errors.py --fix")
    for name in re.findall(r"^  X\((\w+),", codes, re.M):
        if f"| `TINKER_{name}` |" not in page:
            faults.append(f"{PAGE}: TINKER_{name} has no row")
    return fixed, faults


def check_itself():
    """A case that changes, and a code without row, are found."""
    cases = 'CASE(a, JSON(404, "x"), ENOENT, USER, "fn")\n'
    page = "| `TINKER_A` |\n" + BEGIN + table(cases) + END
    codes = "  X(A, -1, \"a\") \\\n"
    assert not check(page, cases, codes)[1]
    assert check(page, cases.replace("404", "405"), codes)[1]
    assert check(page, cases, codes + "  X(B, -2, \"b\")\n")[1]


def main():
    check_itself()
    page = PAGE.read_text(encoding="utf-8")
    fixed, faults = check(page, CASES.read_text(encoding="utf-8"),
                          CODES.read_text(encoding="utf-8"))
    if "--fix" in sys.argv and fixed != page:
        PAGE.write_text(fixed, encoding="utf-8")
        faults = [f for f in faults if "--fix" not in f]
    for fault in faults:
        print(fault)
    print(f"test_errors: {len(faults)} faults")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
