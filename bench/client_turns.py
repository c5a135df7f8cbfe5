"""The client against libcurl without a client and the official SDK, in turns.

usage: client_turns.py --build DIR [--sdk PYTHON] [--rounds N] [--small]
                       [OP ...]

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
CPU time over that of libcurl with 64 connections. under_sdk: the CPU time of
the SDK (from lists) over its own.
"""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
MIB = 1 << 20
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


class Bench:
    def __init__(self, options):
        self.options = options
        self.build = options.build

    def ours(self, url):
        return Contender([self.build / "bench_client", url])

    def raw(self, url, *widths):
        return Contender([self.build / "bench_raw_curl", url,
                          *map(str, widths)])

    def sdk(self, url):
        if not self.options.sdk:
            return None
        return Contender([self.options.sdk, HERE / "client_sdk.py", url])

    def size(self, full, small):
        return small if self.options.small else full

    def in_turns(self, entries, n, length):
        """entries: (name, process, pass). Returns {name: [answers]}, the first
        of each from the round that is not counted."""
        entries = [e for e in entries if e[1]]
        answers = {name: [] for name, _, _ in entries}
        for _ in range(self.options.rounds + 1):
            for name, process, what in entries:
                answers[name].append(process.turn(what, n, length))
        for process in {id(p): p for _, p, _ in entries}.values():
            process.close()
        return answers


def median(answers, key):
    return statistics.median(a[key] for a in answers[1:])


def report(op, answers, facts, extra=lambda line: {}):
    cpu = {name: median(a, "cpu_ms") for name, a in answers.items()}
    for name, a in answers.items():
        line = {"bench": "client", "op": op, **facts, "contender": name,
                "cpu_ms": round(cpu[name], 2),
                "least_cpu_ms": round(min(x["cpu_ms"] for x in a[1:]), 2),
                "wall_ms": round(median(a, "wall_ms"), 2),
                "peak_mib": round(max(x["peak_mib"] for x in a), 1),
                "over_raw": round(cpu[name] / cpu["raw"], 2)}
        if "sdk" in cpu:
            line["under_sdk"] = round(cpu["sdk"] / cpu[name], 1)
        line["rounds"] = len(a) - 1
        line.update(extra(line))
        print(json.dumps(line), flush=True)


def forward(bench):
    n, length = bench.size((128, 8192), (50, 8192))
    stub = Stub(bench.build)
    sdk = bench.sdk(stub.url)
    answers = bench.in_turns(
        [("ours", bench.ours(stub.url), "forward"),
         ("raw", bench.raw(stub.url, 64), "forward"),
         ("sdk", sdk, "forward_lists"),
         ("sdk_numpy", sdk, "forward_numpy"),
         ("sdk_prebuilt", sdk, "forward_prebuilt")], n, length)
    stub.close()
    report("forward", answers, {
        "examples": n, "tokens": length,
        "payload_mib": round(n * length * 16 / MIB, 1)})


def samples(bench, op):
    n, length = bench.size((2000, 4096), (40, 128))
    stub = Stub(bench.build)
    url = stub.url + (f"/held/{n}" if op == "held" else "")
    answers = bench.in_turns(
        [("ours", bench.ours(url), "sample"),
         ("raw", bench.raw(url, 64), "sample"),
         ("raw_16_512", bench.raw(url, 16, 512), "sample"),
         ("sdk", bench.sdk(url), "sample")], n, length)
    stub.close()
    report(op, answers, {"samples": n, "tokens": length},
           lambda line: {"per_cpu_s": round(n / line["cpu_ms"] * 1e3)})


def call(bench):
    n, length = bench.size((300, 16), (20, 16))
    stub = Stub(bench.build)
    answers = bench.in_turns(
        [("ours", bench.ours(stub.url), "small"),
         ("raw", bench.raw(stub.url, 64), "small"),
         ("sdk", bench.sdk(stub.url), "small")], n, length)
    stub.close()
    raw = {key: median(answers["raw"], key) for key in ("cpu_ms", "wall_ms")}
    report("call", answers, {"calls": n, "tokens": length}, lambda line: {
        "cpu_us_above_raw": round((line["cpu_ms"] - raw["cpu_ms"]) / n * 1e3,
                                  1),
        "wall_us_above_raw": round((line["wall_ms"] - raw["wall_ms"]) / n * 1e3,
                                   1)})


def idle(bench):
    seconds = bench.size(25, 1)
    for name in ("ours", "sdk"):
        stub = Stub(bench.build)
        process = getattr(bench, name)(stub.url)
        if process:
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
        stub = Stub(bench.build)
        process = bench.ours(f"{stub.url}/{mode}")
        answer = process.turn("update", n, length)
        counts = stub.counts()
        right = numbers_are_right(mode, counts)
        print(json.dumps({
            "bench": "client", "op": "update", "mode": mode,
            "contender": "ours", "sent_mb": round(counts["bytes"] / 1e6, 1),
            "parts": counts["forwards"], "in_order": right,
            "cpu_ms": answer["cpu_ms"], "wall_ms": answer["wall_ms"],
            "peak_mib": answer["peak_mib"],
            "allowed_mib": round(FLIGHT / MIB + 32, 1)}), flush=True)
        process.close()
        stub.close()
        if not right:
            raise SystemExit(f"update: numbers out of order: {counts}")


OPS = {"forward": forward, "sample": lambda b: samples(b, "sample"),
       "held": lambda b: samples(b, "held"), "call": call, "idle": idle,
       "update": update}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", type=pathlib.Path, required=True)
    parser.add_argument("--sdk")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--small", action="store_true")
    parser.add_argument("ops", nargs="*", metavar="OP")
    options = parser.parse_args()
    unknown = set(options.ops) - set(OPS)
    if unknown or options.rounds < 1:
        parser.error(f"no such OP: {unknown}" if unknown else "--rounds")
    print(json.dumps({"bench": "client", "op": "machine",
                      "cpus": os.cpu_count(),
                      "load": round(os.getloadavg()[0], 1)}), flush=True)
    for name in options.ops or OPS:
        OPS[name](Bench(options))


if __name__ == "__main__":
    main()
