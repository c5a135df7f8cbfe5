"""kill -9 at random moments under mixed load (train, save, sample).

  service_kill.py LOCALD MODEL [KILLS]

Two trainers and a sampler work while the service is killed and started again
KILLS times. Then the same calls run on a service that is left alone. What was
acknowledged is there, with the same result, and the final weights have the
same bits."""
import hashlib
import json
import os
import random
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
import locald

AHEAD = 4  # calls of a trainer that are under way at once


def stream(name, model_id):
    """Calls of a trainer, the same for the same name: (path, body)."""
    rng = random.Random(name)
    seq = 0
    while True:
        for _ in range(rng.randrange(1, 4)):
            seq += 1
            data = [locald.datum([rng.randrange(64) for _ in
                                  range(rng.randrange(2, 40))])
                    for _ in range(rng.randrange(1, 6))]
            yield "forward_backward", locald.forward_backward(model_id, seq,
                                                              data)
        seq += 1
        yield "optim_step", locald.optim_step(model_id, seq,
                                              grad_clip_norm=1.0)
        what = rng.random()
        if what < 0.2:
            seq += 1
            yield "save_weights", {"model_id": model_id, "seq_id": seq,
                                   "path": f"c{seq}"}
        elif what < 0.35:
            seq += 1
            yield "save_weights", {"model_id": model_id, "seq_id": seq,
                                   "path": "latest", "overwrite": True}
        elif what < 0.5:
            seq += 1
            yield "save_weights_for_sampler", {
                "model_id": model_id, "seq_id": seq, "path": f"s{seq}"}
        elif what < 0.6:
            seq += 1
            yield "save_weights_for_sampler", {
                "model_id": model_id, "seq_id": seq,
                "sampling_session_seq_id": 1000 * (1 + int(name[-1])) + seq}


def samples(sampler_id):
    rng = random.Random("sampler")
    seq = 0
    while True:
        yield "asample", {
            "sampling_session_id": sampler_id, "seq_id": seq,
            "num_samples": rng.randrange(1, 4),
            "prompt": {"chunks": [{"type": "encoded_text", "tokens":
                                   [rng.randrange(64) for _ in range(8)]}]},
            "sampling_params": {"max_tokens": 12, "seed": seq, "stop": [],
                                "temperature": 1.0}}
        seq += 1


class Worker:
    """Sends a stream, some calls ahead, and collects the results. Whatever
    fails in the connection is sent again, byte for byte."""

    def __init__(self, service, calls):
        self.service, self.calls = service, calls
        self.results = []   # (path, request_id, result)
        self.sent = 0
        self.error = None

    def submit(self, path, body):
        status, reply = locald.again(self.service.call, path, body)
        assert status == 200, (path, status, reply)
        return reply["request_id"]

    def collect(self, waiting):
        path, request_id = waiting.pop(0)
        status, reply = locald.again(self.service.result, request_id)
        assert status == 200, (path, status, reply)
        self.results.append((path, request_id, reply))

    def run(self, more):
        """Runs while more(calls sent) says so, then waits for all results."""
        try:
            waiting = []
            while more(self.sent):
                path, body = next(self.calls)
                data = json.dumps(body).encode()
                waiting.append((path, self.submit(path, data)))
                self.sent += 1
                if len(waiting) == AHEAD:
                    self.collect(waiting)
            while waiting:
                self.collect(waiting)
        except BaseException as e:  # told to the main thread
            self.error = e


def prepare(service):
    status, reply = service.call("create_session", {"tags": []})
    assert status == 200, reply
    session = reply["session_id"]
    models = [locald.create(service, session, n, seed=n + 1)
              for n in range(2)]
    status, reply = service.call("create_sampling_session", {
        "session_id": session, "sampling_session_seq_id": 0,
        "base_model": "m"})
    assert status == 200, reply
    return session, [
        Worker(service, stream(f"trainer{n}", m))
        for n, m in enumerate(models)
    ] + [Worker(service, samples(reply["sampling_session_id"]))]


def run_all(workers, mores, meanwhile=lambda: None):
    threads = [threading.Thread(target=w.run, args=(m,))
               for w, m in zip(workers, mores)]
    for t in threads:
        t.start()
    meanwhile()
    for t in threads:
        t.join()
    for w in workers:
        if w.error:
            raise w.error


def final_digests(service, workers):
    """Digest of each trainer's final state, saved as one more call."""
    digests = []
    for w in workers[:2]:
        model, seq = w.results[-1][1].rsplit(":", 1)
        service.do("save_weights", {"model_id": model, "seq_id": int(seq) + 1,
                                    "path": "final"})
        path = f"tinker://{model}/weights/final"
        event = service.event("checkpoint", path=path)
        with open(os.path.join(event["folder"], "state.safetensors"),
                  "rb") as f:
            assert hashlib.sha256(f.read()).hexdigest() == event["sha256"]
        digests.append(event["sha256"])
    return digests


def comparable(session, results):
    """Results without what names this run."""
    return [json.dumps(r).replace(session, "S") for r in results]


def check_kept(service, workers):
    """Everything that was acknowledged is still there."""
    for w in workers:
        for path, request_id, result in w.results:
            status, reply = service.result(request_id)
            assert status == 200 and reply == result, (path, request_id)


def check_folders(service):
    """No half checkpoint, and every one that is listed has its files."""
    status, reply = service.call("checkpoints?limit=1000")
    assert status == 200 and reply["checkpoints"], reply
    for kind in ("checkpoints", "snapshots"):
        names = os.listdir(os.path.join(service.state, kind))
        assert all(n.isdigit() for n in names), names
        for n in names:
            folder = os.path.join(service.state, kind, n)
            assert len(os.listdir(folder)) == 3, folder
            assert "tinker.json" in os.listdir(folder), folder


def wait_past(workers, seen):
    """Before a kill: what was under way at the last but one is done. A call
    in which the service is killed three times is given up, and here a slow
    disk would be enough for that. seen: results at each kill."""
    while len(seen) > 1 and any(
            len(w.results) < n + AHEAD and not w.error
            for w, n in zip(workers, seen[-2])):
        time.sleep(0.005)
    seen.append([len(w.results) for w in workers])


def killed_run(program, model, kills):
    service = locald.Service(program, model, ["--snapshot-ms", "40"])
    rng = random.Random(time.time_ns())
    done = threading.Event()

    seen = []

    def killer():
        for _ in range(kills):
            time.sleep(rng.uniform(0.0, 0.35))
            wait_past(workers, seen)
            service.kill()
            service.start()
        done.set()

    service.start()
    session, workers = prepare(service)
    run_all(workers, [lambda n: not done.is_set()] * 3, killer)
    check_kept(service, workers)
    digests = final_digests(service, workers)
    service.kill()
    service.start()
    check_kept(service, workers)
    check_folders(service)
    assert service.stop() == 0
    return session, workers, digests


def main():
    program, model = sys.argv[1:3]
    kills = int(sys.argv[3]) if len(sys.argv) > 3 else 25
    session, workers, digests = killed_run(program, model, kills)
    counts = [w.sent for w in workers]

    calm = locald.Service(program, model)
    calm.start()
    calm_session, calm_workers = prepare(calm)
    run_all(calm_workers, [lambda n, c=c: n < c for c in counts])
    calm_digests = final_digests(calm, calm_workers)
    assert calm.stop() == 0

    for a, b in zip(workers, calm_workers):
        mine = comparable(session, [r[2] for r in a.results])
        calms = comparable(calm_session, [r[2] for r in b.results])
        assert mine == calms, "a result differs from the undisturbed run's"
    assert digests == calm_digests, (digests, calm_digests)
    print(f"{kills} kills, calls {counts}: nothing lost, nothing twice, "
          f"final weights equal ({digests[0][:16]}, {digests[1][:16]})")


if __name__ == "__main__":
    main()
