"""The table of docs/recovery-figures.md, made from the lines of the benches that
stand beside it.

usage: recover_table.py LINES PAGE          writes it into the page
       recover_table.py --check LINES PAGE  ends with 1 if the page has another

It stands between "<!-- table -->" and "<!-- end of table -->".
"""
import json
import pathlib
import sys

from table import BEGIN, END, markdown


def line(lines, bench, **fields):
    found, = [x for x in lines if x["bench"] == bench and
              all(x.get(k) == v for k, v in fields.items())]
    return found


def ms(x):
    return f"{x:,.1f} ms" if x < 10 else f"{x:,.0f} ms"


def spread(x, *ps):
    return ", ".join(f"p{p} {ms(x[f'p{p}_ms'])}" for p in ps)


def times(lines, what, *ps, **fields):
    x = line(lines, "recover_times", what=what, **fields)
    return f"{spread(x, *ps)} of {x['n']}"


def steps(lines, examples):
    x = line(lines, "recover", what="added by a run", examples=examples)
    plain = line(lines, "recover", what="step without a run",
                 examples=examples)
    return (f"{spread(x, 50, 99)} on steps of {ms(plain['p50_ms'])};"
            f" {x['syncs_per_step']:.0f} syncs")


def rows(lines):
    journal = line(lines, "journal_load")
    many, live = line(lines, "recoverd"), line(lines, "recoverd_live")
    attach = line(lines, "recover", what="open, re-attach, next step",
                  examples=8)
    request = "decision to the first request of another model"
    step = "decision to the next committed step"
    load = max(x["load_ms"] for x in lines if "load_ms" in x and
               x["bench"] == "recover_times")
    return [
        ["", "Measured", "Wanted", "By"],
        ["T1: a trainer's death to its detection",
         times(lines, "death to detection", 50, 99), "p99 50 ms",
         "`recover_times.py`"],
        ["T3: a model is shown as corrupted, to the next look at it; idle",
         f"p99 {live['sighting_p99_s']:.1f} s, and at most 1 s until the run"
         " takes it", "p99 12 s", "`recoverd_live.py`"],
        ["T5: the decision that a model is lost to the first request of another",
         times(lines, request, 50, 99, load_ms=0), "p99 100 ms",
         "`recover_times.py`"],
        ["T6: R3, a run that is opened to its next step, the service's answers"
         " included", f"{spread(attach, 50, 99)} of {attach['n']}",
         "p99 500 ms", "`recover.c`"],
        ["T6: R4, the decision to the next committed step, the service's work"
         " on a tiny model included", times(lines, step, 50, 99, load_ms=0),
         "p99 1 s", "`recover_times.py`"],
        [f"The same where a load takes {load / 1000} s",
         times(lines, step, 50, 95, load_ms=load), "p95 3 s",
         "`recover_times.py`"],
        ["T20: what a run adds to a step of 8 examples, with a sync of 0.2 ms",
         steps(lines, 8), "p99 1 ms", "`recover.c`"],
        ["The same of 1 example, which the service has done before the disk",
         steps(lines, 1), "", "`recover.c`"],
        [f"T21: start on a journal of {journal['records']:,} records",
         f"{ms(journal['start_ms'])}; without a snapshot"
         f" {ms(journal['load_ms'])}", "200 ms", "`journal.c`"],
        [f"T21: {many['runs']:,} runs watched without a session",
         f"{many['memory_mib']:.0f} MiB, {many['core_percent']:.1f} % of a"
         " core", "64 MiB, 1 %", "`recoverd.py`"],
        [f"{live['runs']:,} live sessions over one client, and all their models"
         " looked at", f"{live['memory_mib']:.0f} MiB,"
         f" {live['core_percent']:.1f} % of a core,"
         f" {live['lists_per_s']:.1f} lists a second",
         "128 MiB, 4 %, 1 a second", "`recoverd_live.py`"],
    ]


def main():
    check = sys.argv[1] == "--check"
    source, page = map(pathlib.Path, sys.argv[1 + check:])
    lines = [json.loads(x) for x in source.read_text().splitlines()]
    text = page.read_text()
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    new = before + BEGIN + markdown(rows(lines)) + END + after
    if check:
        raise SystemExit(0 if new == text else
                         f"{page}: its table is not that of {source}")
    page.write_text(new)


if __name__ == "__main__":
    main()
