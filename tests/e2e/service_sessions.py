"""Sessions come and go: what they leave in memory and in the store is what their
checkpoints need, whatever their number and whenever the process is killed.

  service_sessions.py LOCALD MODEL SESSIONS"""
import http.client
import json
import os
import sqlite3
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
import locald
from locald import again, create, optim_step

CLIENTS = 4
KEEPS = 50   # of so many sessions one leaves a checkpoint
TRAINS = 5   # and so many of them train a model
KILLS = 5
TABLES = ("sessions", "models", "samplers", "requests", "checkpoints")


def rows(service):
    db = sqlite3.connect(service.state + "/store.db", timeout=60)
    try:
        return {t: db.execute(f"SELECT count(*) FROM {t}").fetchone()[0]
                for t in TABLES}
    finally:
        db.close()


def known(service):
    """Sessions and models in memory."""
    c = service.connection()
    try:
        c.request("GET", "/_operator/dump")
        dump = json.loads(c.getresponse().read())
    finally:
        c.close()
    return sum(dump["sessions"].values()), sum(dump["models"].values())


def sample(service, session, number, source):
    """Tokens of a sampling session of its own."""
    status, reply = service.call("create_sampling_session", {
        "session_id": session, "sampling_session_seq_id": number, **source})
    assert status == 200, reply
    status, reply = service.call("asample", {
        "sampling_session_id": reply["sampling_session_id"], "seq_id": 0,
        "num_samples": 1, "prompt": {"chunks": [
            {"type": "encoded_text", "tokens": [1, 2, 3]}]},
        "sampling_params": {"max_tokens": 2, "seed": 7}})
    assert status == 200, reply
    status, reply = service.result(reply["request_id"])
    assert status == 200 and reply["sequences"], reply
    return reply["sequences"][0]["tokens"]


def live_once(service, n):
    """One session; the path that it leaves, or None."""
    path = None
    status, reply = service.call("create_session", {})
    assert status == 200, reply
    session = reply["session_id"]
    if n % TRAINS == 0:
        model = create(service, session)
        service.do("optim_step", optim_step(model, 1))
        if n % KEEPS == 0:
            path = service.do("save_weights_for_sampler", {
                "model_id": model, "seq_id": 2, "path": "kept"})["path"]
    else:
        sample(service, session, 0, {"base_model": "m"})
    status, reply = service.call(f"sessions/{session}/finish", {})
    assert status == 200, reply
    return path


class Clients:
    """Sessions 0 to n, the next one by whoever is free. One that a kill has
    broken is another's: its rest ends by its own."""

    def __init__(self, service, n):
        self.service, self.n, self.next, self.paths = service, n, 0, []
        self.lock, self.error = threading.Lock(), None
        self.threads = [threading.Thread(target=self.work)
                        for _ in range(CLIENTS)]
        for t in self.threads:
            t.start()

    def work(self):
        try:
            while self.error is None:
                with self.lock:
                    n, self.next = self.next, self.next + 1
                if n >= self.n:
                    return
                path = again(self.one, n)[1]
                if path:
                    self.paths.append(path)
        except Exception as e:
            self.error = e
            raise

    def one(self, n):
        try:
            return 200, live_once(self.service, n)
        except AssertionError as e:
            if "503" in str(e) or "starting" in str(e):
                return 503, None
            raise


def main():
    service = locald.Service(sys.argv[1], sys.argv[2],
                             ["--keep", "1", "--forget", "1",
                              "--session-timeout", "5"])
    total = int(sys.argv[3])
    service.start()
    clients = Clients(service, total)
    for i in range(1, KILLS + 1):
        while clients.next < total * i // (KILLS + 1) and not clients.error:
            time.sleep(0.01)
        service.kill()
        service.start()
    for t in clients.threads:
        t.join()
    assert clients.error is None, clients.error
    kept = len(clients.paths)
    assert kept >= total // KEEPS, kept
    end = time.monotonic() + locald.GUARD_S
    left = rows(service)
    while left["sessions"] != left["checkpoints"]:
        assert time.monotonic() < end, left
        time.sleep(0.1)
        left = rows(service)
    # A kill may have come between a save and its answer.
    n = left["checkpoints"]
    assert kept <= n <= kept + KILLS * CLIENTS, (kept, left)
    assert left == {"sessions": n, "models": n, "checkpoints": n,
                    "samplers": 0, "requests": 0}, left
    while (there := known(service)) != (n, n):  # memory follows the rows
        assert time.monotonic() < end, (there, n)
        time.sleep(0.1)
    session = service.call("create_session", {})[1]["session_id"]
    for i, path in enumerate(clients.paths):
        assert len(sample(service, session, i, {"model_path": path})) == 2
    assert service.stop() == 0
    service.start()
    runs = service.call("training_runs?limit=1000")[1]["training_runs"]
    assert len(runs) == n, (len(runs), n)
    assert not service.events("lost") and not service.events("folder_missing")
    service.stop()
    print(f"{total} sessions, {KILLS} kills: {kept} checkpoints, {left}")


if __name__ == "__main__":
    main()
