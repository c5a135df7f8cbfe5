"""Every act of a fault plan, seen by a client and by the ledger.

  service_faults.py LOCALD MODEL"""
import http.client
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
import locald
from locald import create, datum, forward_backward, optim_step

DATA = [datum([1, 2, 3, 4, 5, 6]), datum([7, 9, 11])]
OTHER = [datum([3, 1, 4, 1, 5, 9, 2])]
SAVE = {"type": "save_weights"}


class Faulty(locald.Service):
    """A service with a plan, a session and a model."""

    def __init__(self, *rules, seed=1, model=True, listen=False):
        program, path = sys.argv[1:3]
        super().__init__(program, path)
        self.add_plan(rules, seed)
        self.flags += ["--poll-ms", "300"]
        if listen:
            self.flags += ["--listen", "127.0.0.1:0"]
        self.ready = self.start()
        if model:
            self.session = self.call("create_session", {})[1]["session_id"]
            self.model_id = create(self, self.session)

    def fb(self, seq, data=DATA):
        return self.do("forward_backward",
                       forward_backward(self.model_id, seq, data))

    def optim(self, seq):
        return self.do("optim_step", optim_step(self.model_id, seq))

    def save(self, seq, name):
        return self.do("save_weights", {**SAVE, "model_id": self.model_id,
                                        "seq_id": seq, "path": name})

    def load(self, path, number, optimizer=True):
        return self.do("load_weights", {
            "session_id": self.session, "model_seq_id": number, "path": path,
            "optimizer": optimizer, "type": "load_weights"})["model_id"]

    def ledger(self, **want):
        c = self.connection()
        c.request("GET", "/_test/ledger")
        reply = c.getresponse()
        assert reply.status == 200
        entries = json.loads(reply.read())["entries"]
        c.close()
        return [e for e in entries
                if all(e.get(k) == v for k, v in want.items())]

    def count(self, event, endpoint):
        return len(self.ledger(event=event, endpoint=endpoint))


def losses(service, model_id, first, steps=3):
    """Some training steps of a model: what they answer."""
    out = []
    for i in range(steps):
        seq = first + 2 * i
        out.append(service.do("forward_backward", forward_backward(
            model_id, seq, OTHER))["metrics"]["loss:sum"])
        service.do("optim_step", optim_step(model_id, seq + 1))
    return out


def broken(service, path, body=None):
    """The call fails below HTTP: the exception."""
    try:
        reply = service.call(path, body)
    except (OSError, http.client.HTTPException) as e:
        return e
    raise AssertionError((path, reply))


# --- Requests ---------------------------------------------------------------

def check_delay():
    s = Faulty({"endpoint": "get_info", "act": "delay", "ms": 300, "nth": 2})
    ask = {"model_id": s.model_id}
    assert s.call("get_info", ask)[0] == 200
    begin = time.monotonic()
    assert s.call("get_info", ask)[0] == 200
    # The service counts whole milliseconds.
    assert time.monotonic() - begin >= 0.299
    assert len(s.ledger(event="fault", act="delay")) == 1
    s.end()


def check_hang():
    s = Faulty({"endpoint": "get_info", "act": "hang"})
    replies = []
    thread = threading.Thread(target=lambda: replies.append(
        broken(s, "get_info", {"model_id": s.model_id})))
    thread.start()
    while not s.ledger(event="fault", act="hang"):
        pass
    assert s.call("healthz")[0] == 200  # nobody else is held up
    assert s.stop() == 0                # and the stop is not, either
    thread.join()
    assert replies
    s.end()


def check_drop_and_reset():
    for act in ("drop", "reset"):
        s = Faulty({"endpoint": "optim_step", "act": act, "nth": 1},
                   listen=True)
        c = http.client.HTTPConnection(s.ready["http"].split("//")[1],
                                       timeout=locald.GUARD_S)
        body = json.dumps(optim_step(s.model_id, 1))
        c.request("POST", "/api/v1/optim_step", body, {
            "Content-Type": "application/json", "X-API-Key": "tml-x"})
        try:
            c.getresponse()
            raise AssertionError(act)
        except ConnectionResetError as e:
            kind = e
        except http.client.RemoteDisconnected as e:
            kind = e
        closed = isinstance(kind, http.client.RemoteDisconnected)
        assert closed == (act == "drop"), (act, kind)
        assert s.count("accepted", "optim_step") == 0
        s.optim(1)  # the same again
        assert s.count("applied", "optim_step") == 1
        s.end()


def check_status():
    s = Faulty(
        {"endpoint": "training_runs", "act": "status", "status": 502,
         "body": "<html>bad gateway</html>", "content_type": "text/html",
         "times": 2},
        {"endpoint": "session_heartbeat", "act": "status", "status": 429,
         "retry_after": 7, "nth": 1},
        {"endpoint": "retrieve_future", "of": "optim_step", "act": "status",
         "status": 408, "body": '{"queue_state":"paused_rate_limit"}',
         "nth": 1},
        {"endpoint": "optim_step", "seq_id": 2, "act": "status",
         "status": 402, "for_ms": 400})
    for _ in range(2):
        status, text, headers = s.call("training_runs", raw=True)
        assert status == 502 and text == b"<html>bad gateway</html>"
        assert headers["Content-Type"] == "text/html"
    assert s.call("training_runs")[0] == 200
    beat = {"session_id": s.session}
    status, _, headers = s.call("session_heartbeat", beat, raw=True)
    assert status == 429 and headers["Retry-After"] == "7"
    assert s.call("session_heartbeat", beat)[0] == 200
    request = s.call("optim_step", optim_step(s.model_id, 1))[1]["request_id"]
    poll = {"request_id": request}
    assert s.call("retrieve_future", poll) == (
        408, {"queue_state": "paused_rate_limit"})
    assert s.result(request)[0] == 200
    assert s.call("optim_step", optim_step(s.model_id, 2))[0] == 402
    end = time.monotonic() + locald.GUARD_S
    while s.call("optim_step", optim_step(s.model_id, 2))[0] == 402:
        assert time.monotonic() < end
    assert s.count("accepted", "optim_step") == 2
    s.end()


def check_key():
    s = Faulty({"endpoint": "get_info", "act": "status", "status": 401},
               {"endpoint": "training_runs/*", "id": ":train:0",
                "act": "status", "status": 401})
    assert s.call("get_info", {"model_id": s.model_id})[0] == 401
    assert s.call(f"training_runs/{s.model_id}")[0] == 401
    assert s.call("session_heartbeat", {"session_id": s.session})[0] == 200
    s.end()


def check_lost_reply():
    s = Faulty({"endpoint": "optim_step", "act": "lose_reply", "nth": 1},
               {"endpoint": "create_session", "act": "lose_reply", "nth": 2})
    s.fb(1)
    broken(s, "optim_step", optim_step(s.model_id, 2))
    assert s.count("accepted", "optim_step") == 1
    s.optim(2)  # the same number: one step all the same
    assert s.count("accepted", "optim_step") == 1
    assert s.count("applied", "optim_step") == 1
    broken(s, "create_session", {})  # a mutation without a number: two now
    assert s.call("create_session", {})[0] == 200
    assert s.count("accepted", "create_session") == 3
    s.end()


def check_cut_and_trickle():
    s = Faulty({"endpoint": "training_runs", "act": "cut", "bytes": 20,
                "nth": 1},
               {"endpoint": "training_runs", "act": "cut", "bytes": 0,
                "nth": 1},
               {"endpoint": "training_runs", "act": "trickle", "bytes": 100,
                "ms": 5, "nth": 1})
    try:
        s.call("training_runs", raw=True)
        raise AssertionError("not cut")
    except http.client.IncompleteRead as e:
        assert len(e.partial) == 20, e
    try:
        s.call("training_runs", raw=True)
        raise AssertionError("not cut")
    except http.client.IncompleteRead as e:
        assert len(e.partial) == 0, e
    status, runs = s.call("training_runs")  # the third: in pieces
    assert status == 200 and s.call("training_runs") == (200, runs)
    assert len(s.ledger(event="fault")) == 3
    s.end()


def check_content_type():
    s = Faulty({"endpoint": "retrieve_future", "of": "optim_step",
                "act": "content_type", "content_type": "text/plain"})
    request = s.call("optim_step", optim_step(s.model_id, 1))[1]["request_id"]
    status, text, headers = s.call("retrieve_future", {"request_id": request},
                                   raw=True)
    assert status == 200 and headers["Content-Type"] == "text/plain"
    json.loads(text)
    s.end()


def check_duplicate():
    s = Faulty({"endpoint": "optim_step", "act": "duplicate"},
               {"endpoint": "create_session", "nth": 2, "act": "duplicate"})
    s.fb(1)
    s.optim(2)
    assert s.count("applied", "optim_step") == 1
    assert s.call("create_session", {})[0] == 200
    assert s.count("accepted", "create_session") == 3
    s.end()


def check_reorder():
    s = Faulty({"endpoint": "forward_backward", "seq_id": 1, "act": "reorder"})
    replies = {}

    def send(seq):
        replies[seq] = s.call("forward_backward",
                              forward_backward(s.model_id, seq, DATA))
    first = threading.Thread(target=send, args=(1,))
    first.start()
    while not s.ledger(event="fault"):
        pass
    send(2)
    first.join()
    order = [e["seq_id"] for e in s.ledger(event="accepted",
                                           endpoint="forward_backward")]
    assert order == [2, 1], order
    applied = s.ledger(event="applied", endpoint="forward_backward")
    for reply in replies.values():
        assert s.result(reply[1]["request_id"])[0] == 200
    applied = [e["seq_id"] for e in s.ledger(event="applied",
                                             endpoint="forward_backward")]
    assert applied == [1, 2], applied
    s.end()


def check_session_gone():
    s = Faulty({"endpoint": "session_heartbeat", "nth": 2,
                "act": "session_gone"})
    beat = {"session_id": s.session}
    assert s.call("session_heartbeat", beat)[0] == 200
    assert s.call("session_heartbeat", beat)[0] == 410
    assert s.call("optim_step", optim_step(s.model_id, 1))[0] == 410
    s.end()


def check_lists():
    s = Faulty({"endpoint": "checkpoints", "times": 1, "act": "stale_list",
                "ms": 60000},
               {"endpoint": "training_runs/*", "times": 1,
                "act": "show_corrupted"})
    s.save(1, "a")
    assert s.call("checkpoints")[1]["checkpoints"] == []
    assert len(s.call("checkpoints")[1]["checkpoints"]) == 1
    shown = [s.call(f"training_runs/{s.model_id}")[1]["corrupted"]
             for _ in range(2)]
    assert shown == [True, False], shown
    s.end()


# --- Calls ------------------------------------------------------------------

def check_pause():
    s = Faulty({"endpoint": "optim_step", "seq_id": 1, "act": "pause",
                "ms": 700, "state": "paused_rate_limit", "reason": "too many"})
    request = s.call("optim_step", optim_step(s.model_id, 1))[1]["request_id"]
    status, reply = s.call("retrieve_future", {"request_id": request})
    assert (status, reply["type"], reply["queue_state"],
            reply["queue_state_reason"]) == (
                200, "try_again", "paused_rate_limit", "too many"), reply
    assert s.result(request)[0] == 200
    s.end()


def check_forget():
    s = Faulty({"endpoint": "optim_step", "seq_id": 2, "act": "forget"},
               {"endpoint": "optim_step", "seq_id": 4, "act": "forget",
                "applied": False})
    for seq in (2, 4):
        s.fb(seq - 1)
        status, reply = s.call("optim_step", optim_step(s.model_id, seq))
        assert status == 200
        assert s.call("retrieve_future",
                      {"request_id": reply["request_id"]})[0] == 410
    s.save(5, "behind")  # when this is done, so are the others
    steps = {e["seq_id"]: e["event"] for e in s.ledger(endpoint="optim_step")
             if e["event"] in ("applied", "failed")}
    assert steps == {2: "applied", 4: "failed"}, steps
    s.end()


def check_corrupt():
    for flag in (True, False):
        s = Faulty({"endpoint": "optim_step", "nth": 2, "act": "corrupt",
                    "flag": flag})
        s.fb(1)
        s.optim(2)
        s.save(3, "good")
        reply = s.optim(4)
        assert reply["category"] == "server" and "corrupted" in reply["error"]
        assert "error" in s.fb(5)
        for _ in range(2):  # a restart changes nothing
            run = s.call(f"training_runs/{s.model_id}")[1]
            assert run["corrupted"] is flag, run
            s.kill()
            s.start()
        resumed = s.load(f"tinker://{s.model_id}/weights/good", 1)
        losses(s, resumed, 1)
        s.end()


def check_optimizer():
    """Without its moments a resumed model goes another way."""
    s = Faulty({"endpoint": "load_weights", "nth": 2, "act": "drop_optimizer"})
    s.fb(1)
    s.optim(2)
    path = s.save(3, "a")["path"]
    warm, cold = s.load(path, 1), s.load(path, 2)
    a, b = losses(s, warm, 1), losses(s, cold, 1)
    assert a[0] == b[0] and a[2] != b[2], (a, b)
    s.end()


def twin(act, endpoint, seq):
    """Losses of a model whose call was hit, and of one that was not."""
    s = Faulty({"endpoint": endpoint, "seq_id": seq, "id": ":train:0",
                "act": act})
    twin_id = create(s, s.session, 1)
    out = []
    for model in (s.model_id, twin_id):
        out.append(losses(s, model, 1))
    s.kill()  # the log is executed again as it was the first time
    s.start()
    for i, model in enumerate((s.model_id, twin_id)):
        out[i] += losses(s, model, 7)
    assert not s.events("replay_differs")
    s.end()
    return out


def check_twice():
    hit, well = twin("apply_twice", "forward_backward", 1)
    assert hit[0] == well[0] and hit[2:] != well[2:], (hit, well)
    hit, well = twin("apply_twice", "optim_step", 2)
    assert hit[0] == well[0] and hit[1:] != well[1:], (hit, well)


def check_ignored():
    hit, well = twin("ignore", "optim_step", 2)
    assert hit[0] == well[0] and hit[1:] != well[1:], (hit, well)
    assert hit[1] == hit[0] and well[1] != well[0], (hit, well)


def check_gradients():
    hit, well = twin("keep_gradients", "optim_step", 2)
    assert hit[:2] == well[:2] and hit[2:] != well[2:], (hit, well)


def check_checkpoints():
    s = Faulty({"endpoint": "save_weights", "seq_id": 3, "act": "flip_bit"},
               {"endpoint": "save_weights", "seq_id": 7, "act": "save_old"},
               {"endpoint": "save_weights", "seq_id": 8, "act": "expire",
                "ms": 86400000})
    s.fb(1)
    s.optim(2)
    flipped, good = s.save(3, "flipped")["path"], s.save(4, "good")["path"]
    s.fb(5)
    s.optim(6)
    old, last = s.save(7, "old")["path"], s.save(8, "last")["path"]
    seen = {path: losses(s, s.load(path, 1 + i), 1)
            for i, path in enumerate((good, old, last))}
    assert seen[old] == seen[good] != seen[last]
    reply = s.do("load_weights", {"session_id": s.session, "model_seq_id": 9,
                                  "path": flipped, "optimizer": True})
    assert "digest" in reply["error"], reply
    shown = {c["tinker_path"]: "expires_at" in c
             for c in s.call("checkpoints")[1]["checkpoints"]}
    assert shown == {flipped: False, good: False, old: False, last: True}
    s.end()


# --- Plans ------------------------------------------------------------------

def check_probability():
    """The same seed makes the same faults; restarted, what fired has fired."""
    seen = []
    for seed in (5, 5, 6):
        s = Faulty({"endpoint": "healthz", "act": "status", "status": 503,
                    "probability": 0.5}, seed=seed, model=False)
        seen.append([s.call("healthz")[0] for _ in range(40)])
        s.end()
    assert seen[0] == seen[1] != seen[2]
    assert 5 < seen[0].count(503) < 35
    s = Faulty({"endpoint": "healthz", "act": "status", "status": 503,
                "times": 2}, model=False)
    assert s.call("healthz")[0] == 503
    s.kill()
    s.start()
    assert [s.call("healthz")[0] for _ in range(2)] == [503, 200]
    s.end()


def check_documented():
    """The page's examples are plans, and leave no act out."""
    page = os.path.join(os.path.dirname(__file__), "..", "..", "docs",
                        "faults.md")
    with open(page, encoding="utf-8") as f:
        text = f.read()
    rules = [json.loads(r) for r in re.findall(r"`(\{.*?\})`", text)]
    acts = set(re.findall(r"^\| `(\w+)` \|.*\{", text, re.M)) | {"status"}
    assert acts == {r["act"] for r in rules} and len(acts) == 25, acts
    Faulty(*rules, model=False).end()


def refused(plan, words):
    program, model = sys.argv[1:3]
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "plan.json")
        with open(path, "w", encoding="utf-8") as f:
            f.write(plan)
        run = subprocess.run(
            [program, "--model", model, "--state", os.path.join(folder, "s"),
             "--socket", os.path.join(folder, "x"), "--faults", path],
            capture_output=True, text=True, timeout=locald.GUARD_S)
    assert run.returncode == 2 and words in run.stderr, (plan, run)


def check_refusals():
    for plan, words in (
            ('{"rules":[{"act":"explode"}]}', "rules[0].act"),
            ('{"rules":[{"act":"delay"}]}', "rules[0].ms: is required"),
            ('{"rules":[{"act":"hang","ms":1}]}', "not an argument"),
            ('{"rules":[{"act":"hang"},{"act":"hang","ntth":1}]}',
             "rules[1].ntth"),
            ('{"rules":[{"act":"apply_twice","endpoint":"asample"}]}',
             "rules[0].endpoint"),
            ('{"rules":[{"act":"hang","probability":1.5}]}', "probability"),
            ('{"rules":[{"act":"hang","nth":0}]}', "nth"),
            ('{"rules":[{"nth":1}]}', "rules[0].act: is required"),
            ('{"rule":[]}', "'rule'"), ('{"rules":[', "malformed JSON"),
            ("", "malformed JSON")):
        refused(plan, words)
    program, model = sys.argv[1:3]
    s = locald.Service(program, model)
    s.start()
    c = s.connection()
    c.request("GET", "/_test/ledger")  # only with a plan
    assert c.getresponse().status == 404
    c.close()
    assert not os.path.exists(os.path.join(s.state, "ledger.jsonl"))
    s.end()


if __name__ == "__main__":
    locald.run_checks(globals())
