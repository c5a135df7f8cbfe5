#!/usr/bin/env python3
"""Keeps the simulated service of tests/sim honest: random scripts of requests go
to it and to a real tinker-locald, and the answers are compared: status, shape
(names and types), every text and whole number but sentences, times and sizes,
and with them the category of failures, the names and the order of lists, what
is accepted, refused, known already or waits for which number. What a model
computes is not compared.

  sim_server.py SIM_SERVER_CLI LOCALD MODEL SCRIPTS [FIRST_SEED]"""
import json
import os
import random
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../support"))
from locald import GUARD_S, Service, UnixConnection, datum  # noqa: E402

BASE = "sim-base"
A_SCRIPT = 40       # requests
FRESH_AFTER = 25    # scripts that share two services
LOOSE = {"detail", "error", "time", "expires_at", "last_request_time", "arch",
         "size_bytes", "max_context_length", "sampleable"}
LEFT_OUT = {"tokenizer_id"}  # a local folder


class Real(Service):
    def command(self):
        return [self.program, "--model", f"{BASE}={self.model}", "--socket",
                self.socket, "--state", self.state, "--threads", "1",
                "--poll-ms", "10", *self.flags]

    def send(self, method, path, body, key):
        """On one connection that stays."""
        if getattr(self, "open", None) is None:
            self.open = UnixConnection(self.socket, GUARD_S)
        headers = {"Content-Type": "application/json"}
        if key:
            headers["X-Idempotency-Key"] = key
        self.open.request(method, "/" + path, body.encode(), headers)
        reply = self.open.getresponse()
        return reply.status, reply.read().decode()


class Sim:
    def __init__(self, program):
        self.process = subprocess.Popen([program], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)
        self.now = 1000
        self.line(session_ms=10 ** 12)

    def line(self, **fields):
        self.process.stdin.write(json.dumps(fields) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def send(self, method, path, body, key):
        """Polls are not held: they arrived long ago."""
        r = self.line(now=self.now, arrived=self.now - 10 ** 6, method=method,
                      path=path, body=body, key=key or "")
        return r["status"], r["body"]

    def end(self):
        self.process.stdin.close()
        assert self.process.wait() == 0


class Differ(Exception):
    pass


def differ(a, b, at, name=""):
    """Raises where the simulated answer a is not what the real one, b, is."""
    if name in LOOSE and type(a) is type(b):
        return
    if isinstance(a, dict) and isinstance(b, dict):
        if a.keys() - LEFT_OUT != b.keys() - LEFT_OUT:
            raise Differ(f"{at}: {sorted(a)}, not {sorted(b)}")
        for k in a.keys() - LEFT_OUT:
            differ(a[k], b[k], f"{at}.{k}", k)
    elif isinstance(a, list) and isinstance(b, list):
        if len(a) != len(b):
            raise Differ(f"{at}: {len(a)} entries, not {len(b)}")
        for i, (x, y) in enumerate(zip(a, b)):
            differ(x, y, f"{at}[{i}]")
    elif type(a) is not type(b) or (a != b and not isinstance(a, float)):
        raise Differ(f"{at}: {a!r}, not {b!r}")


class Pair:
    """Both services. $S0$ in a path or body stands for the first session's id,
    which differs."""

    def __init__(self, programs, model, flags=(), rules=()):
        self.sim = Sim(programs[0])
        self.real = Real(programs[1], model, flags)
        if rules:
            self.real.add_plan(rules)
        self.real.start()
        self.sessions = []  # (simulated, real)
        self.waiting = []   # calls without a result
        self.losses = []    # (simulated, real)
        self.log = []

    def end(self):
        self.sim.end()
        self.real.stop()
        self.real.end()

    def to(self, which, text):
        for i, ids in enumerate(self.sessions):
            text = text.replace(f"$S{i}$", ids[which])
        return text

    def back(self, which, text):
        for i, ids in enumerate(self.sessions):
            text = text.replace(ids[which], f"$S{i}$")
        return text

    def send(self, method, path, body="", key=None):
        """To both; the statuses and texts."""
        if not isinstance(body, str):
            body = json.dumps(body)
        self.log.append(f"{method} {path} {body[:300]}")
        return [s.send(method, "api/v1/" + self.to(i, path),
                       self.to(i, body), key and self.to(i, key))
                for i, s in enumerate((self.sim, self.real))]

    def compare(self, replies, what):
        """(status, simulated reply with $S0$ for ids)"""
        (a, x), (b, y) = replies
        if a != b:
            raise Differ(f"{what}: status {a} {x[:300]}, not {b} {y[:300]}")
        x, y = self.back(0, x), self.back(1, y)
        if not x or not y:
            if x != y:
                raise Differ(f"{what}: {x!r}, not {y!r}")
            return a, None
        x, y = json.loads(x), json.loads(y)
        differ(x, y, what)
        self.both = x, y
        return a, x

    def call(self, method, path, body="", key=None):
        """Compares; (status, simulated reply) with $S0$ for ids."""
        status, reply = self.compare(self.send(method, path, body, key), path)
        if status == 200 and "request_id" in (reply or {}) and \
                reply.get("type") != "try_again":
            if reply["request_id"] not in self.waiting:
                self.waiting.append(reply["request_id"])
        self.log[-1] += f" -> {status}"
        self.settle()
        return status, reply

    def session(self, body, key):
        """create_session: learns the ids."""
        replies = self.send("POST", "create_session", body, key)
        ids = [json.loads(text).get("session_id") for _, text in replies]
        if replies[0][0] == 200 and tuple(ids) not in self.sessions:
            self.sessions.append(tuple(ids))
        return self.compare(replies, "create_session")

    def settle(self):
        """Lets both do what they can: what has a result in the simulation has
        to get one of the real service, too. Of what waits one call is asked
        for, the last one."""
        body, late = '{"request_id":"%s"}', []
        for call in list(self.waiting):
            ask = "POST", "api/v1/retrieve_future"
            first = self.sim.send(*ask, self.to(0, body % call), None)
            while '"active"' in first[1]:  # all of it ends before a TTL does
                self.sim.now += 50
                first = self.sim.send(*ask, self.to(0, body % call), None)
            if '"try_again"' in first[1]:
                late.append((call, first))
                continue
            guard = time.monotonic() + GUARD_S
            second = self.real.send(*ask, self.to(1, body % call), None)
            while '"try_again"' in second[1] and time.monotonic() < guard:
                second = self.real.send(*ask, self.to(1, body % call), None)
            self.compare((first, second), f"result of {call}")
            self.waiting.remove(call)
            if "metrics" in self.both[0]:
                self.losses += [tuple(r["metrics"].get("loss:sum", 0)
                                      for r in self.both)]
        for call, first in late[-1:]:
            second = self.real.send(*ask, self.to(1, body % call), None)
            self.compare((first, second), f"poll of {call}")


# --- Scripts -----------------------------------------------------------------

def tokens(r):
    return [r.randrange(1, 30) for _ in range(r.randint(3, 7))]


def passed(r, kind):
    t = tokens(r)
    data = [datum(t) for _ in range(r.randint(1, 2))]
    flaw = r.random()
    if flaw < 0.03:
        data[0]["loss_fn_inputs"]["weights"]["data"].append(1.0)
        data[0]["loss_fn_inputs"]["weights"]["shape"] = [len(t)]
    elif flaw < 0.06:
        del data[0]["loss_fn_inputs"][r.choice(["weights", "target_tokens"])]
    elif flaw < 0.08:
        data = []
    elif flaw < 0.10:
        data[0]["model_input"]["chunks"][0]["tokens"][0] = -1
    elif flaw < 0.12:
        data[0]["loss_fn_inputs"]["more"] = \
            data[0]["loss_fn_inputs"].get("weights", {})
    elif flaw < 0.13:
        data[0]["loss_fn_inputs"] = 5
    loss = "cross_entropy" if r.random() < 0.95 else "no_such_loss"
    return {f"{kind}_input": {"data": data, "loss_fn": loss}}


def stepped(r):
    adam = {"learning_rate": r.choice([0.0, 1e-4, 1e-2])}
    if r.random() < 0.2:
        adam["grad_clip_norm"] = 1.0
    if r.random() < 0.15:
        adam.update(r.choice([{"learning_rate": -1}, {"beta1": 1.0},
                              {"beta2": -0.1}, {"eps": 0}, {"beta1": "x"},
                              {"weight_decay": -1}, {"learning_rate": None}]))
    body = {"adam_params": adam}
    if r.random() < 0.06:
        body = r.choice([{}, {"adam_params": 3}, {
            "optimizer_params": {"type": "dimuon", "learning_rate": 1e-3}}])
    return body


def saved(r):
    body = {"path": r.choice(["a", "b", "c", "d"])}
    if r.random() < 0.2:
        body["ttl_seconds"] = r.choice([3600, 86400, 3599, 0, -5, 10 ** 12])
    if r.random() < 0.2:
        body["overwrite"] = True
    if r.random() < 0.2:
        body["user_metadata"] = r.choice([{"k": "v"}, {}, {"k": 1}, []])
    if r.random() < 0.1:
        body["path"] = r.choice(["", ".", "..", "a/b", "a b", "x" * 201, "é",
                                 "x" * 200, "a?", "a%", 7, None])
    return body


class Script:
    def __init__(self, pair, seed):
        self.pair, self.r = pair, random.Random(seed)
        self.seed = seed
        self.mine = []      # sessions
        self.over = []      # finished ones
        self.models = []    # [id, next number]
        self.calls = {}     # (model, number) -> (path, body)
        self.paths = []     # of checkpoints
        self.ids = []       # of requests
        self.created = {}   # (session, number) -> (path, body)

    def pick(self, of, other):
        r = self.r
        return r.choice(of) if of and r.random() < 0.93 else other

    def a_session(self):
        return self.pick(self.mine[-2:], self.r.choice(
            ["nobody", *self.over]))

    def a_model(self):
        return self.pick([m[0] for m in self.models[-3:]],
                         self.r.choice(["nobody", "$S0$:train:77", "",
                                        "a:b:c"]))

    def a_path(self):
        return self.pick(self.paths, self.r.choice([
            "tinker://nobody/weights/a", "nonsense", "", "tinker://a/b",
            "tinker://nobody/other/a", "tinker://nobody/sampler_weights/x"]))

    def create_session(self):
        r = self.r
        body = {"tags": [], "user_metadata": {"n": str(r.randrange(3))},
                "sdk_version": "1"}
        flaw = r.random()
        if flaw < 0.1:
            body.pop(r.choice(list(body)))
        elif flaw < 0.15:
            body["user_metadata"] = 3
        elif flaw < 0.2:
            body["display_name"] = "shown"
        key = f"{self.seed}-{r.randrange(4)}"
        status, _ = self.pair.session(body, key)
        if status == 200:
            ids = [f"$S{i}$" for i in range(len(self.pair.sessions))]
            if ids[-1] not in self.mine + self.over:
                self.mine.append(ids[-1])

    def heartbeat(self):
        self.pair.call("POST", "session_heartbeat",
                       {"session_id": self.a_session()})

    def finish(self):
        if self.r.random() < 0.6:
            return
        reason = {"type": self.r.choice(["success", "errored", "other"])}
        body = {"reason": reason, "detail": None}
        session = self.a_session()
        self.pair.call("POST", f"sessions/{session}/finish", body)
        if reason["type"] != "other" and session in self.mine:
            self.mine.remove(session)
            self.over.append(session)
            self.models.sort(key=lambda m: not m[0].startswith(session))

    def make(self, path, body):
        """A call that makes a model, new or repeated."""
        r = self.r
        if self.created and r.random() < 0.15:
            key = r.choice(list(self.created))
            path, body = self.created[key]
            if r.random() < 0.4:
                body = {**body, "user_metadata": {"other": "x"}}
        status, reply = self.pair.call("POST", path, body)
        if status == 200:
            self.note(reply["request_id"])
            if reply["model_id"] not in [m[0] for m in self.models]:
                self.models.append([reply["model_id"], 1])
            self.created.setdefault((body["session_id"],
                                     body["model_seq_id"]), (path, body))

    def create_model(self):
        r = self.r
        lora = {"rank": r.choice([2, 4, 8]), "seed": r.randrange(5)}
        if r.random() < 0.2:
            lora["train_unembed"] = False
        body = {"session_id": self.a_session(),
                "model_seq_id": r.choice([0, 1, 2, 3, 4, 5]),
                "base_model": BASE, "lora_config": lora,
                "optimizer_config": {"type": "adamw"}}
        if r.random() < 0.2:
            body["user_metadata"] = r.choice([{"a": "b"}, {"a": 1, "b": [2]},
                                              {}, [1]])
        if r.random() < 0.15:
            r.choice([
                lambda: lora.update(rank=r.choice([0, 3, -1, 256])),
                lambda: lora.update(train_mlp=False, train_attn=False,
                                    train_unembed=False),
                lambda: body.pop(r.choice(["session_id", "model_seq_id",
                                           "base_model", "lora_config"])),
                lambda: body.update(base_model=r.choice(["other", ""])),
                lambda: body.update(model_seq_id=r.choice([-1, "x", 1.5])),
                lambda: body.update(optimizer_config={"type": "dimuon"}),
            ])()
        self.make("create_model", body)

    def load_new(self):
        r = self.r
        body = {"session_id": self.a_session(),
                "model_seq_id": r.choice([2, 3, 4, 5, 6, 7]),
                "path": self.a_path(), "optimizer": r.random() < 0.7}
        if r.random() < 0.15:
            r.choice([
                lambda: body.pop(r.choice(["session_id", "model_seq_id",
                                           "path", "optimizer"])),
                lambda: body.update(base_model=r.choice([BASE, "other"])),
                lambda: body.update(model_seq_id=-1),
                lambda: body.update(optimizer="x"),
                lambda: body.update(optimizer_config={"type": "dimuon"}),
            ])()
        self.make("load_weights", body)

    def note(self, request):
        if request not in self.ids:
            self.ids.append(request)

    def number(self, model):
        """The next one, mostly; or one that leaves a gap, fills one or was
        used; or none at all."""
        r = self.r
        entry = next((m for m in self.models if m[0] == model), [model, 1])
        x = r.random()
        if x < 0.68:
            entry[1] += 1
            return entry[1] - 1
        if x < 0.80:
            return entry[1] + r.randint(1, 2)
        if x < 0.96:
            return r.randint(1, entry[1])
        return r.choice([0, -1, 2 ** 31, None, "1", 2 ** 63])

    def numbered(self):
        r = self.r
        model = self.a_model()
        if self.calls and r.random() < 0.12:  # the same again
            model, seq = r.choice(list(self.calls))
            path, body = self.calls[model, seq]
        else:
            seq = self.number(model)
            path, body = r.choice([
                lambda: ("forward_backward", passed(r, "forward_backward")),
                lambda: ("forward", passed(r, "forward")),
                lambda: ("optim_step", stepped(r)),
                lambda: ("save_weights", saved(r)),
                lambda: ("save_weights_for_sampler", saved(r)),
                lambda: ("load_weights", {"path": self.a_path(),
                                          "optimizer": r.random() < 0.7}),
            ])()
            body = {"model_id": model, **body}
            if seq is not None:
                body["seq_id"] = seq
            if r.random() < 0.03:
                body.pop(r.choice(list(body)))
        status, reply = self.pair.call("POST", path, body)
        if isinstance(seq, int):
            self.calls.setdefault((model, seq), (path, body))
            if status in (200, 409):
                for m in self.models:
                    if m[0] == model:
                        m[1] = max(m[1], min(seq, 10 ** 6) + 1)
        if status == 200:
            self.note(reply["request_id"])
            word = {"save_weights": "weights",
                    "save_weights_for_sampler": "sampler_weights"}.get(path)
            if word and isinstance(body.get("path"), str):
                self.paths.append(
                    f"tinker://{model}/{word}/{body['path']}")
        else:
            self.note(f"{model}:{seq}")

    def poll(self):
        request = self.pick(self.ids, self.r.choice([
            "nobody:0", "nonsense", "", "$S0$:train:0:99"]))
        body = {"request_id": request}
        if self.r.random() < 0.05:
            body = {}
        if request not in self.pair.waiting:
            self.pair.call("POST", "retrieve_future", body)

    def ask(self):
        r = self.r
        r.choice([
            lambda: self.pair.call("POST", "get_info",
                                   {"model_id": self.a_model()}),
            lambda: self.pair.call("POST", "weights_info",
                                   {"tinker_path": self.a_path()}),
            lambda: self.listed("training_runs"),
            lambda: self.listed("checkpoints"),
            lambda: self.listed("sessions"),
            lambda: self.pair.call("GET", "training_runs/" +
                                   (self.a_model() or "x")),
            lambda: self.pair.call("GET", "training_runs/" + (
                self.a_model() or "x") + "/checkpoints"),
            lambda: self.pair.call("GET", f"sessions/{self.a_session()}"),
            lambda: self.pair.call("GET", r.choice([
                "healthz", "get_server_capabilities", "nothing"])),
            lambda: self.pair.call("POST", "client/config",
                                   r.choice([{"sdk_version": "1"}, {}])),
            lambda: self.pair.call("POST", "client/dynamic_config",
                                   {"sdk_version": "1"}),
        ])()

    def listed(self, what):
        r = self.r
        query = r.choice(["", "?limit=3", "?limit=2&offset=1", "?offset=4",
                          "?limit=0", "?limit=x", "?offset=-1",
                          "?limit=1000&offset=0", "?limit=1001",
                          "?access_scope=owned&limit=5"])
        self.pair.call("GET", what + query)

    def checkpoint(self):
        """Another life, or its end."""
        r = self.r
        parts = self.a_path().removeprefix("tinker://").split("/")
        if len(parts) != 3 or not all(parts):
            parts = ["nobody", r.choice(["weights", "other"]), "a"]
        path = "training_runs/{}/checkpoints/{}/{}".format(*parts)
        if not path.isascii():
            return
        if r.random() < 0.4:
            self.pair.call("DELETE", path)
            return
        body = r.choice([{"ttl_seconds": 3600}, {"ttl_seconds": None}, {},
                         {"ttl_seconds": 3599}, {"ttl_seconds": 315360000},
                         {"ttl_seconds": 10 ** 10}, {"ttl_seconds": "x"}])
        self.pair.call("PUT", path + "/ttl", body)

    def broken(self):
        path = self.r.choice(["create_model", "optim_step", "save_weights",
                              "sessions/nobody/finish", "load_weights", "forward",
                              "forward_backward", "retrieve_future",
                              "session_heartbeat", "weights_info",
                              "get_info"])
        self.pair.call("POST", path, self.r.choice(
            ["", "{", "[]", "3", '{"model_id":"a","model_id":"b"}', "{}",
             '{"session_id":3}', '{"model_id":"x","seq_id":1}']))

    def run(self):
        """Begins with something to work with."""
        self.create_session()
        self.create_model()
        acts = [(2, self.create_session), (2, self.heartbeat),
                (1, self.finish), (3, self.create_model), (4, self.load_new),
                (26, self.numbered), (5, self.poll), (8, self.ask),
                (4, self.checkpoint), (1, self.broken)]
        for _ in range(A_SCRIPT):
            self.r.choices([a for _, a in acts], [w for w, _ in acts])[0]()


# --- The same faults ---------------------------------------------------------

# Of the real service's plan and of the simulated one. Which losses of the course
# differ from those without it is compared, too. What a flipped bit of a file
# does is chance, so it is not here.
FAULTS = [
    (None, None),
    (dict(endpoint="optim_step", nth=2, act="corrupt"),
     dict(fault="CORRUPT", nth=5)),
    (dict(endpoint="optim_step", nth=2, act="corrupt", flag=False),
     dict(fault="CORRUPT_HIDDEN", nth=5)),
    (dict(endpoint="optim_step", nth=2, act="forget"),
     dict(fault="FORGET", nth=6)),
    (dict(endpoint="optim_step", nth=2, act="forget", applied=False),
     dict(fault="FORGET_UNAPPLIED", nth=6)),
    (dict(endpoint="load_weights", nth=1, act="drop_optimizer"),
     dict(fault="DROP_OPTIMIZER")),
    (dict(endpoint="optim_step", nth=2, act="apply_twice"),
     dict(fault="APPLY_TWICE", nth=4)),
    (dict(endpoint="forward_backward", nth=2, act="apply_twice"),
     dict(fault="APPLY_TWICE", nth=3)),
    (dict(endpoint="optim_step", nth=1, act="keep_gradients"),
     dict(fault="KEEP_GRADIENTS")),
    (dict(endpoint="optim_step", nth=2, act="ignore"),
     dict(fault="IGNORE_UPDATE", nth=2)),
    (dict(endpoint="save_weights", nth=2, act="save_old"),
     dict(fault="SAVE_OLD", nth=2)),
    (dict(endpoint="save_weights", nth=2, act="expire", ms=1),
     dict(fault="SAVE_SHORT", nth=2, arg=1)),
    (dict(endpoint="training_runs/*", nth=1, act="show_corrupted"),
     dict(fault="SHOW_CORRUPTED")),
    (dict(endpoint="checkpoints", nth=1, act="stale_list", ms=10 ** 6),
     dict(fault="STALE_LISTS", nth=2, arg=10 ** 6))]


def course(pair, expires):
    """Some steps, two saves among them, and a model made of the second; then
    every question about it. Returns, for both, the losses."""
    pair.session({"tags": [], "user_metadata": {}, "sdk_version": "1"}, "k")
    pair.call("POST", "create_model", {
        "session_id": "$S0$", "model_seq_id": 0, "base_model": BASE,
        "lora_config": {"rank": 4, "seed": 1}})
    work = {"data": [datum([3, 1, 4, 1, 5, 9, 2, 6])],
            "loss_fn": "cross_entropy"}

    def train(model, seq):
        call = {"model_id": f"$S0$:train:{model}"}
        pair.call("POST", "forward_backward",
                  {**call, "seq_id": seq, "forward_backward_input": work})
        pair.call("POST", "optim_step", {
            **call, "seq_id": seq + 1, "adam_params": {"learning_rate": .01}})

    def save(seq, name):
        pair.call("POST", "save_weights", {
            "model_id": "$S0$:train:0", "seq_id": seq, "path": name})

    train(0, 1)
    save(3, "a")
    train(0, 4)
    save(6, "b")
    train(0, 7)
    guard = time.monotonic() + GUARD_S
    while expires and "weights/b" in pair.real.send(
            "GET", "api/v1/checkpoints", "", None)[1]:
        assert time.monotonic() < guard
        time.sleep(0.05)
    pair.sim.now += 2
    pair.call("GET", "training_runs/$S0$:train:0")
    pair.call("GET", "checkpoints")
    pair.call("GET", "training_runs/$S0$:train:0/checkpoints")
    status, _ = pair.call("POST", "load_weights", {
        "session_id": "$S0$", "model_seq_id": 1, "optimizer": True,
        "path": "tinker://$S0$:train:0/weights/b"})
    for seq in range(1, 8, 2) if status == 200 else ():
        train(1, seq)
    for i in range(9):
        pair.call("POST", "retrieve_future",
                  {"request_id": f"$S0$:train:0:{i}"})
    return [[pair_of[i] for pair_of in pair.losses] for i in (0, 1)]


def faults(programs, model):
    well = None
    for rule, fault in FAULTS:
        pair = Pair(programs, model, rules=[rule] if rule else ())
        if fault:
            pair.sim.line(**fault)
        what = rule or "no fault"
        try:
            losses = course(pair, rule and rule["act"] == "expire")
            well = well or losses
            hit = [[i >= len(w) or x != w[i] for i, x in enumerate(got)]
                   for got, w in zip(losses, well)]
            if hit[0] != hit[1]:
                raise Differ(f"losses that it changes: {hit[0]}, not {hit[1]}")
        except Differ as e:
            print("\n".join(pair.log[-30:]))
            print(f"{what}: {e}")
            return False
        pair.end()
    return True


# --- The end of a session ----------------------------------------------------

def ledger(real):
    """What happened; asking is no sign of life."""
    return real.send("GET", "_test/ledger", "", None)[1]


def expired(programs, model):
    """Without a sign of life a session ends, and later its results go."""
    pair = Pair(programs, model, ["--session-timeout", "1", "--keep", "1"],
                [dict(endpoint="asample", act="drop")])
    pair.sim.line(session_ms=1000)
    pair.session({"tags": [], "user_metadata": {}, "sdk_version": "1"}, "k")
    pair.call("POST", "create_model", {
        "session_id": "$S0$", "model_seq_id": 0, "base_model": BASE,
        "lora_config": {"rank": 4, "seed": 1}})
    pair.sim.now += 10 ** 7
    guard = time.monotonic() + GUARD_S
    while "sessions/*/finish" not in ledger(pair.real):
        assert time.monotonic() < guard
        time.sleep(0.05)
    body = json.dumps({"request_id": pair.to(1, "$S0$:train:0:0")})
    while pair.real.send("POST", "api/v1/retrieve_future", body,
                         None)[0] == 200:
        assert time.monotonic() < guard
        time.sleep(0.05)
    pair.call("POST", "session_heartbeat", {"session_id": "$S0$"})
    pair.call("POST", "optim_step", {"model_id": "$S0$:train:0", "seq_id": 1,
                                     "adam_params": {}})
    pair.call("POST", "retrieve_future", {"request_id": "$S0$:train:0:0"})
    pair.call("POST", "get_info", {"model_id": "$S0$:train:0"})
    pair.call("GET", "training_runs/$S0$:train:0")
    pair.call("GET", "sessions/$S0$")
    pair.call("POST", "sessions/$S0$/finish", {"detail": None})
    pair.end()


def main():
    programs, model, count = sys.argv[1:3], sys.argv[3], int(sys.argv[4])
    first = int(sys.argv[5]) if len(sys.argv) > 5 else 1
    pair, requests = None, 0
    for seed in range(first, first + count):
        if pair is None:
            pair = Pair(programs, model)
        pair.log = []
        try:
            Script(pair, seed).run()
        except (Differ, AssertionError, KeyError, ValueError) as e:
            print("\n".join(pair.log[-30:]))
            print(f"seed {seed}: {e!r}")
            print(f"again: {sys.argv[0]} {' '.join(sys.argv[1:4])} 1 {seed}")
            return 1
        requests += len(pair.log)
        if (seed - first) % FRESH_AFTER == FRESH_AFTER - 1:
            pair.end()
            pair = None
    if pair:
        pair.end()
    if not faults(programs, model):
        return 1
    expired(programs, model)
    print(f"{count} scripts, {requests} requests, {len(FAULTS)} courses: both "
          "say the same")
    return 0


sys.exit(main())
