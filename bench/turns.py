"""What the scripts that compare bench_engine with others share: it runs as a
process that does a step when told, so that both sides take turns and see the
same machine."""
import json
import statistics
import subprocess


class Engine:
    """bench_engine serve MODEL DTYPE THREADS."""

    def __init__(self, program, model, dtype, threads):
        self.process = subprocess.Popen(
            [program, "serve", model, dtype, str(threads)], text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        ready = self.process.stdout.readline()
        if not ready:
            raise SystemExit("bench_engine did not start")
        self.facts = json.loads(ready)

    def seconds(self, command):
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline())

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def compare(facts, unit, work, ours, theirs, their_name):
    """Prints a line with both speeds and their ratio: of the least times,
    and of the medians. work: units done in each time."""
    def speed(times, pick):
        return round(work / pick(times), 2 if work / pick(times) < 100 else 0)
    line = dict(facts)
    for key, pick in (("", min), ("median_", statistics.median)):
        line[key + unit] = speed(ours, pick)
        line[key + their_name + "_" + unit] = speed(theirs, pick)
        line[key + "ratio"] = round(pick(theirs) / pick(ours), 2)
    line["turns"] = len(ours)
    print(json.dumps(line), flush=True)
