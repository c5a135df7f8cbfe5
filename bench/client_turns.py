"""The client against libcurl without a client and the official SDK, in turns.

usage: client_turns.py --build DIR [--sdk PYTHON] [--rounds N] [--small]
                       [--instructions] [OP ...]

DIR has bench_stub, bench_client and bench_raw_curl. PYTHON has the official
SDK (PyPI: tinker); without it the SDK is left out. Each contender is a process;
each takes a pass in turn, so that all see the same machine. The stub server
keeps nothing and computes nothing. Medians are of N rounds (9) after one that
is not counted; the peak of the memory above the caller's arrays is that of all.
--small makes tiny passes, to see that they work.

OPs, all by default:
  forward  forward_backward of 128 examples of 8,192 tokens, from arrays to
           results
  sample   2,000 samples at once with prompts of 4,096 tokens, answered at once
  held     the same, answered when the service has accepted all of them
  call     forward_backwards of one short example, one after another
  idle     the time between heartbeats
  update   forward_backward of 700 MB in parts of 4 MB: one after another
           ("parts"), and as many at once as may be in flight ("wide")

Each contender gets a line. cpu_ms: of all threads of its process. over_raw: its
CPU time over that of libcurl with 64 connections, which copies no array
("raw_joined" copies each body once, "raw_16_512" sends by 16 connections and
polls by 512). Of ours, "ours_take" hands its arrays over instead of having them
copied, "ours_step" turns the client's loop itself, "ours_uv" lends it a loop of
libuv's. longest_step_ms: CPU time of the longest step of all rounds. under_sdk:
the CPU time of the SDK (from lists) over its own. stub_cpu_ms: of the server
for that pass. results_mib: of the peak, what the results take.
--instructions counts the user's instructions of forward, sample, held and call
by Valgrind (callgrind) instead, without the SDK: those of a run with three
passes less those of a run with one, halved, and of no more than 200 samples.
"""
import argparse
import json
import os
import pathlib
import re
import statistics
import subprocess
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
MIB = 1 << 20
FLOATS = 2  # of a result, for each token
FLIGHT = 50000000  # bytes of forward_backward in flight: the service's default


class Stub:
    def __init__(self, build):
        self.process = subprocess.Popen(
            [build / "bench_stub"], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, text=True)
        self.url = self.process.stdout.readline().strip()

    def counts(self):
        with urllib.request.urlopen(self.url + "/counts") as reply:
            return json.load(reply)

    def cpu_ms(self):
        with open(f"/proc/{self.process.pid}/schedstat") as f:
            return int(f.read().split()[0]) / 1e6

    def close(self):
        self.process.stdin.close()
        self.process.wait()


class Contender:
    def __init__(self, command):
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def turn(self, name, n, length):
        self.process.stdin.write(f"{name} {n} {length}\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.process.args[0]} did not answer {name}")
        return json.loads(line)

    def close(self):
        self.process.stdin.close()
        if self.process.wait():
            raise SystemExit(f"{self.process.args[0]} ended badly")


COUNTED = 200  # samples of a pass whose instructions are counted

# Of each: N and LENGTH of a pass, those of --small, what follows the stub's URL,
# and the pass of each contender.
TURNS = {
    "forward": ((128, 8192), (50, 8192), "", {
        "ours": "forward", "ours_take": "forward_take",
        "ours_step": "forward",
        "raw": "forward", "raw_joined": "forward_joined",
        "sdk": "forward_lists", "sdk_numpy": "forward_numpy", "sdk_prebuilt": "forward_prebuilt"}),
    "sample": ((2000, 4096), (40, 128), "", {
        "ours": "sample", "ours_take": "sample_take",
        "raw": "sample", "raw_16_512": "sample",
        "sdk": "sample"}),
    "held": ((2000, 4096), (40, 128), "/held/{n}", {
        "ours": "sample", "ours_take": "sample_take",
        "raw": "sample", "raw_16_512": "sample",
        "sdk": "sample"}),
    "call": ((300, 16), (20, 16), "", {
        "ours": "small", "ours_step": "small", "ours_uv": "small",
        "raw": "small", "sdk": "small"}),
}


class Bench:
    def __init__(self, options):
        self.options = options

    def size(self, full, small):
        return small if self.options.small else full

    def counted(self, op):
        n, length = self.size(*TURNS[op][:2])
        return min(n, COUNTED), length

    def command(self, name, url):
        build = self.options.build
        return {"ours": [build / "bench_client", url],
                "ours_take": [build / "bench_client", url],
                "ours_step": [build / "bench_client", url, "step"],
                "ours_uv": [build / "bench_client", url, "uv"],
                "raw": [build / "bench_raw_curl", url, "64"],
                "raw_joined": [build / "bench_raw_curl", url, "64"],
                "raw_16_512": [build / "bench_raw_curl", url, "16", "512"],
                "sdk": [self.options.sdk, HERE / "client_sdk.py", url]}[name]

    def takes_part(self, name):
        return self.options.sdk or not name.startswith("sdk")

    def in_turns(self, op):
        """Returns {contender: [answers]}, the first of each from the round that
        is not counted."""
        _, _, mode, passes = TURNS[op]
        n, length = self.size(*TURNS[op][:2])
        stub = Stub(self.options.build)
        url = stub.url + mode.format(n=n)
        passes = {k: v for k, v in passes.items() if self.takes_part(k)}
        who = {k: "sdk" if k.startswith("sdk") else k for k in passes}
        processes = {k: Contender(self.command(k, url))
                     for k in dict.fromkeys(who.values())}
        answers = {name: [] for name in passes}
        for _ in range(self.options.rounds + 1):
            for name, what in passes.items():
                before = stub.cpu_ms()
                answer = processes[who[name]].turn(what, n, length)
                answer["stub_ms"] = stub.cpu_ms() - before
                answers[name].append(answer)
        for process in processes.values():
            process.close()
        stub.close()
        return answers

    def instructions(self, op, name, passes):
        """Millions of the user's instructions of a process with that many
        passes."""
        _, _, mode, whats = TURNS[op]
        n, length = self.counted(op)
        stub = Stub(self.options.build)
        done = subprocess.run(
            ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null",
             *self.command(name, stub.url + mode.format(n=n))],
            input=f"{whats[name]} {n} {length}\n" * passes, text=True,
            capture_output=True, check=True)
        stub.close()
        return int(re.search(r"Collected : (\d+)", done.stderr)[1]) / 1e6


def median(answers, key):
    return statistics.median(a[key] for a in answers[1:])


def line_of(bench, op, name, answers, raw, sdk):
    cpu = median(answers, "cpu_ms")
    n, length = bench.size(*TURNS[op][:2])
    line = {"bench": "client", "op": op, "n": n, "tokens": length,
            "contender": name}
    line.update({
        "cpu_ms": round(cpu, 2),
        "least_cpu_ms": round(min(a["cpu_ms"] for a in answers[1:]), 2),
        "wall_ms": round(median(answers, "wall_ms"), 2),
        "stub_cpu_ms": round(median(answers, "stub_ms"), 2),
        "peak_mib": round(max(a["peak_mib"] for a in answers), 1),
        "over_raw": round(cpu / raw, 2)})
    if sdk:
        line["under_sdk"] = round(sdk / cpu, 1)
    if op in ("sample", "held"):
        line["per_cpu_s"] = round(n / cpu * 1e3)
    if name == "ours_step":
        line["longest_step_ms"] = round(max(a["step_ms"] for a in answers), 2)
    if op == "call":
        line["cpu_us_above_raw"] = round((cpu - raw) / n * 1e3, 1)
    line["rounds"] = len(answers) - 1
    return line


def take_turns(bench, op):
    answers = bench.in_turns(op)
    raw = median(answers["raw"], "cpu_ms")
    sdk = "sdk" in answers and median(answers["sdk"], "cpu_ms")
    for name, mine in answers.items():
        print(json.dumps(line_of(bench, op, name, mine, raw, sdk)), flush=True)


def count_instructions(bench, op):
    counts = {}
    for name in TURNS[op][3]:
        if name.startswith("sdk"):
            continue
        one, three = (bench.instructions(op, name, k) for k in (1, 3))
        counts[name] = (three - one) / 2
    n, length = bench.counted(op)
    for name, millions in counts.items():
        print(json.dumps({
            "bench": "client", "op": op, "n": n, "tokens": length,
            "contender": name, "million_instructions": round(millions, 2),
            "over_raw": round(millions / counts["raw"], 2)}), flush=True)


def idle(bench):
    seconds = bench.size(25, 1)
    for name in ("ours", "sdk"):
        stub = Stub(bench.options.build)
        if bench.takes_part(name):
            process = Contender(bench.command(name, stub.url))
            answer = process.turn("idle", seconds, 1)
            print(json.dumps({
                "bench": "client", "op": "idle", "contender": name,
                "seconds": seconds, "sleeps": answer["sleeps"],
                "heartbeats": stub.counts()["heartbeats"],
                "cpu_ms": answer["cpu_ms"]}), flush=True)
            process.close()
        stub.close()


def numbers_are_right(mode, n):
    """All numbers are there, once; the first part goes last if all go at
    once."""
    whole = (n["most"] - n["least"] + 1 == n["forwards"] and
             2 * n["sum"] == n["forwards"] * (n["least"] + n["most"]))
    if mode == "parts":
        return whole and n["in_order"] == n["forwards"]
    return whole and n["last"] == n["least"]


def update(bench):
    n, length = bench.size((5342, 8192), (100, 8192))
    for mode in ("parts", "wide"):
        stub = Stub(bench.options.build)
        process = Contender(bench.command("ours", f"{stub.url}/{mode}"))
        answer = process.turn("update", n, length)
        counts = stub.counts()
        right = numbers_are_right(mode, counts)
        print(json.dumps({
            "bench": "client", "op": "update", "mode": mode,
            "contender": "ours", "sent_mb": round(counts["bytes"] / 1e6, 1),
            "parts": counts["forwards"], "in_order": right,
            "cpu_ms": answer["cpu_ms"], "wall_ms": answer["wall_ms"],
            "peak_mib": answer["peak_mib"],
            "results_mib": round(n * length * FLOATS * 4 / MIB, 1),
            "allowed_mib": round(FLIGHT / MIB + 32, 1)}), flush=True)
        process.close()
        stub.close()
        if not right:
            raise SystemExit(f"update: numbers out of order: {counts}")


ALONE = {"idle": idle, "update": update}
OPS = [*TURNS, *ALONE]


def run(bench, op):
    if op in ALONE:
        ALONE[op](bench)
    elif bench.options.instructions:
        count_instructions(bench, op)
    else:
        take_turns(bench, op)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", type=pathlib.Path, required=True)
    parser.add_argument("--sdk")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--instructions", action="store_true")
    parser.add_argument("ops", nargs="*", metavar="OP")
    options = parser.parse_args()
    unknown = set(options.ops) - set(OPS)
    if unknown or options.rounds < 1:
        parser.error(f"no such OP: {unknown}" if unknown else "--rounds")
    print(json.dumps({"bench": "client", "op": "machine",
                      "cpus": os.cpu_count(),
                      "load": round(os.getloadavg()[0], 1)}), flush=True)
    for op in options.ops or (TURNS if options.instructions else OPS):
        run(Bench(options), op)


if __name__ == "__main__":
    main()
