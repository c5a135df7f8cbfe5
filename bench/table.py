"""Tables of a page, made from the lines of client_turns.py.

usage: table.py LINES PAGE          writes them into the page
       table.py --check LINES PAGE  ends with 1 if the page has others

They stand between "<!-- table -->" and "<!-- end of table -->".
"""
import json
import pathlib
import sys

BEGIN, END = "<!-- table -->\n", "<!-- end of table -->\n"
OPS = {
    "forward": "`forward_backward` of {n} examples of {tokens:,} tokens",
    "sample": "{n:,} samples, prompts of {tokens:,} tokens, answered at once",
    "held": "{n:,} samples, prompts of {tokens:,} tokens, answered when all "
            "are accepted",
    "call": "{n} small `forward_backward`s, one after another",
}
WHO = {
    "ours": "this client",
    "ours_take": "this client, arrays handed over",
    "ours_step": "this client, its loop turned by the program",
    "ours_uv": "this client, on the program's libuv loop",
    "raw": "libcurl, 64 connections",
    "raw_joined": "libcurl, each body copied once",
    "raw_16_512": "libcurl, 16 and 512 connections",
    "sdk": "official SDK, from lists",
    "sdk_numpy": "official SDK, from numpy",
    "sdk_prebuilt": "official SDK, examples made before",
}


def number(x):
    return f"{x:,.0f}" if x >= 100 else f"{x:,.1f}"


def instructions(lines):
    """Thousands for each example, sample or call, by op and contender."""
    return {(x["op"], x["contender"]): x["million_instructions"] * 1e3 / x["n"]
            for x in lines if "million_instructions" in x}


def turns(lines):
    counted = instructions(lines)
    rows = [["", "CPU time", "over libcurl", "the SDK over it", "memory",
             "instructions each"]]
    op = None
    for x in lines:
        if "over_raw" not in x or "cpu_ms" not in x:
            continue
        if x["op"] != op:
            op = x["op"]
            rows.append([f"**{OPS[op].format(**x)}**"] + [""] * 5)
        thousands = counted.get((op, x["contender"]))
        rows.append([
            WHO[x["contender"]], f"{number(x['cpu_ms'])} ms",
            f"{x['over_raw']:.2f}", number(x["under_sdk"]) if "under_sdk" in x else "",
            f"{number(x['peak_mib'])} MiB",
            f"{number(thousands)} k" if thousands else ""])
    return rows


def idles(lines):
    rows = [["Without a call", "time", "a thread went to sleep", "heartbeats",
             "CPU time"]]
    for x in lines:
        if x["op"] == "idle":
            rows.append([WHO[x["contender"]].split(",")[0],
                         f"{x['seconds']} s", str(x["sleeps"]),
                         str(x["heartbeats"]), f"{x['cpu_ms']:.1f} ms"])
    return rows


def steps(lines):
    rows = [["Loop turned by the program", "CPU time of the longest step"]]
    for x in lines:
        if "longest_step_ms" in x:
            rows.append([OPS[x["op"]].format(**x),
                         f"{x['longest_step_ms']:.1f} ms"])
    return rows


def updates(lines):
    names = {"parts": "one part after another", "wide": "parts side by side"}
    rows = [["One call", "sent", "parts", "in order", "memory",
             "of it the results", "limit on bytes in flight, and 32 MiB"]]
    for x in lines:
        if x["op"] == "update":
            rows.append([names[x["mode"]], f"{number(x['sent_mb'])} MB",
                         str(x["parts"]), "yes" if x["in_order"] else "no",
                         f"{number(x['peak_mib'])} MiB",
                         f"{number(x['results_mib'])} MiB",
                         f"{number(x['allowed_mib'])} MiB"])
    return rows


def markdown(rows):
    rows = [rows[0], ["---"] * len(rows[0])] + rows[1:]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def tables(lines):
    machines = [x for x in lines if x["op"] == "machine"]
    loads = [x["load"] for x in machines]
    said = (f"{machines[0]['cpus']} cores; one-minute load average at the "
            f"start of the runs: {min(loads):.0f} to {max(loads):.0f}.\n")
    return "\n".join([said, *(markdown(make(lines))
                              for make in (turns, steps, idles, updates))])


def main():
    check = sys.argv[1] == "--check"
    source, page = map(pathlib.Path, sys.argv[1 + check:])
    lines = [json.loads(x) for x in source.read_text().splitlines()]
    text = page.read_text()
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    new = before + BEGIN + tables(lines) + END + after
    if check:
        raise SystemExit(0 if new == text else
                         f"{page}: its tables are not those of {source}")
    page.write_text(new)


if __name__ == "__main__":
    main()
