"""What tinker-recoverd costs with many live sessions: heartbeats of all of them
over one client, and a look at all their models over pages of a list. Prints one
JSON object: memory, share of one core, calls of lists a second, and how old a
run's sighting is when the next one comes. The trainers are programs that sleep;
the service, sessions and models are real.

  recoverd_live.py LOCALD MODEL RECOVERD TRAINER [RUNS [SECONDS]]"""
import hashlib
import json
import os
import resource
import sqlite3
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../tests/e2e"))
from recover_serve import Served
from recoverd import cpu_s, end, memory_mib, start

RUNS = int(sys.argv[5]) if len(sys.argv) > 5 else 1000
WATCH_S = int(sys.argv[6]) if len(sys.argv) > 6 else 40
ATTEMPT_BEGIN, EPOCH_ACTIVE = 66, 72
TABLES = """
CREATE TABLE head(one INTEGER PRIMARY KEY CHECK(one = 1),
 format INTEGER NOT NULL, lineage TEXT NOT NULL, epoch INTEGER NOT NULL,
 generation INTEGER NOT NULL, last INTEGER NOT NULL);
CREATE TABLE record(id INTEGER PRIMARY KEY, type INTEGER NOT NULL,
 generation INTEGER NOT NULL, step INTEGER NOT NULL, boot TEXT NOT NULL,
 boot_ms INTEGER NOT NULL, wall_ms INTEGER NOT NULL, fields TEXT NOT NULL,
 bytes BLOB NOT NULL, hash BLOB NOT NULL);"""


def write_journal(path, name, facts):
    """A supervisor's file as the run's own process writes it."""
    db = sqlite3.connect(path)
    db.executescript(TABLES)
    chain = hashlib.sha256(
        f"tinker-recovery journal 1 {name} 0".encode()).digest()
    for number, (kind, fields) in enumerate(facts, 1):
        text = json.dumps(fields)
        head = f"{number} {kind} 1 0 1 1 boot {len(text)} 0\n"
        chain = hashlib.sha256(chain + head.encode() + text.encode()).digest()
        db.execute("INSERT INTO record VALUES(?, ?, 1, 0, 'boot', 1, 1, ?, "
                   "zeroblob(0), ?)", (number, kind, text, chain))
    db.execute("INSERT INTO head VALUES(1, 1, ?, 0, 1, ?)", (name, len(facts)))
    db.commit()
    db.close()


def make_model(service):
    session = service.call("create_session", {})[1]["session_id"]
    status, reply = service.call("create_model", {
        "session_id": session, "model_seq_id": 0, "base_model": "m",
        "lora_config": {"rank": 1}})
    assert status == 200, reply
    while True:
        status, done = service.call("retrieve_future",
                                    {"request_id": reply["request_id"]})
        if "model_id" in done:
            return session, done["model_id"]
        assert status in (200, 408), done


def make_runs(folder):
    with open(folder.policy, "w", encoding="utf-8") as f:
        f.write("version: 1\nruns:\n")
        for i in range(RUNS):
            session, model = make_model(folder.service)
            name = f"r{i}"
            path = os.path.join(folder.path, "runs", name)
            os.makedirs(path, mode=0o700)
            write_journal(os.path.join(path, "supervisor.db"), name, [
                (ATTEMPT_BEGIN, {"epoch": 1}),
                (EPOCH_ACTIVE, {"epoch": 1, "from_step": 0,
                                "session": session, "model": model})])
            f.write(f"- match: {{name: {name}}}\n"
                    f"  trainer: {{argv: [/bin/sleep, 100000],"
                    " kill_after: 1s}\n")


def asked(folder):
    """When the list was asked for that each run has seen last."""
    found = {}
    for i in range(RUNS):
        try:
            with open(f"{folder.path}/runs/r{i}/sighting",
                      encoding="utf-8") as f:
                found[i] = json.load(f)["asked_ms"]
        except FileNotFoundError:
            pass
    return found


def ages(folder, until):
    """The milliseconds between two sightings of a run, of all of them."""
    last, between, asks = asked(folder), [], set()
    first = set(last.values())
    while time.monotonic() < until:
        time.sleep(0.5)
        now = asked(folder)
        between += [now[i] - last[i] for i in now
                    if i in last and now[i] != last[i]]
        asks |= set(now.values())
        last = now
    return sorted(between), len(asks - first)


def main():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    folder = Served()
    make_runs(folder)
    start(folder)
    folder.until(lambda: set(folder.states().values()) == {"running"}, "runs")
    folder.until(lambda: len(asked(folder)) == RUNS, "all models seen")
    pid = folder.daemon.pid
    before, begin = cpu_s(pid), time.monotonic()
    between, asks = ages(folder, begin + WATCH_S)
    took = time.monotonic() - begin
    print(json.dumps({
        "bench": "recoverd_live", "runs": RUNS,
        "memory_mib": round(memory_mib(pid), 1),
        "core_percent": round(100 * (cpu_s(pid) - before) / took, 2),
        "lists_per_s": round(asks / took, 2),
        "sighting_p50_s": between[len(between) // 2] / 1000,
        "sighting_p99_s": between[int(len(between) * 0.99)] / 1000}))
    end(folder)
    folder.end()


if __name__ == "__main__":
    main()
