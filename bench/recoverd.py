"""What tinker-recoverd costs that watches many runs without a session: time
until all have been started and have ended, share of one core, memory, and time
of a start on what the last one has left. One JSON object.

  recoverd.py LOCALD MODEL RECOVERD TRAINER [RUNS]"""
import json
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../tests/e2e"))
from recover_serve import Served

RUNS = int(sys.argv[5]) if len(sys.argv) > 5 else 1000
WATCH_S = 20


def write(folder):
    program = folder.path + ".program"
    with open(program, "w", encoding="utf-8") as f:
        f.write("#!/bin/sh\nexit 93\n")
    os.chmod(program, 0o755)
    with open(folder.policy, "w", encoding="utf-8") as f:
        f.write("version: 1\nruns:\n")
        for i in range(RUNS):
            f.write(f"- match: {{name: r{i}}}\n"
                    f"  trainer: {{argv: [{program}]}}\n")


def start(folder):
    """Seconds until it answers."""
    begin = time.monotonic()
    folder.start()
    folder.until(lambda: os.path.exists(folder.path + "/control"), "socket")
    folder.states()
    return time.monotonic() - begin


def cpu_s(pid):
    with open(f"/proc/{pid}/stat", encoding="utf-8") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory_mib(pid):
    with open(f"/proc/{pid}/status", encoding="utf-8") as f:
        line, = (line for line in f if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def end(folder):
    folder.daemon.terminate()
    assert folder.wait() == 0, folder.text()


def main():
    folder = Served()
    write(folder)
    begin = time.monotonic()
    start(folder)
    folder.until(lambda: set(folder.states().values()) == {"stopped"}, "ends")
    ended_s = time.monotonic() - begin
    pid, before = folder.daemon.pid, cpu_s(folder.daemon.pid)
    time.sleep(WATCH_S)
    share, memory = 100 * (cpu_s(pid) - before) / WATCH_S, memory_mib(pid)
    end(folder)
    print(json.dumps({
        "bench": "recoverd", "runs": RUNS, "all_ended_s": round(ended_s, 1),
        "memory_mib": round(memory, 1), "core_percent": round(share, 2),
        "started_again_s": round(start(folder), 2)}))
    end(folder)
    folder.end()


if __name__ == "__main__":
    main()
