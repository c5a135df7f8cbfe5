"""The life of the local service as a process: health while it loads, crashes of
the engine, limits, what its operator can do.

  service_life.py LOCALD MODEL"""
import http.client
import json
import os
import signal
import sqlite3
import struct
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
import locald
from locald import again, create, datum, forward_backward, optim_step

DATA = [datum([1, 2, 3, 4, 5, 6])]
OTHER = [datum([3, 1, 4, 1, 5, 9, 2])]


def new_service(*flags, model=None, rules=()):
    s = locald.Service(sys.argv[1], model or sys.argv[2], flags)
    if rules:
        s.add_plan(rules)
    return s


def new_session(service):
    return service.call("create_session", {})[1]["session_id"]


def get(service, path):
    """A call outside /api/v1: (status, decoded reply)."""
    c = service.connection()
    try:
        c.request("GET", path)
        reply = c.getresponse()
        return reply.status, json.loads(reply.read())
    finally:
        c.close()


def steps(service, model, first, n):
    out = []
    for i in range(n):
        seq = first + 2 * i
        out.append(service.do("forward_backward", forward_backward(
            model, seq, OTHER))["metrics"]["loss:sum"])
        service.do("optim_step", optim_step(model, seq + 1))
    return out


# --- Health -----------------------------------------------------------------

def write_large_model(folder):
    """Half a gigabyte of zeros, which take no room on the disk."""
    hidden, layers, mlp, vocab = 1024, 24, 2816, 4096
    shapes = {"model.embed_tokens.weight": [vocab, hidden],
              "model.norm.weight": [hidden]}
    for i in range(layers):
        p = f"model.layers.{i}."
        for name, rows, columns in (
                ("self_attn.q_proj", hidden, hidden),
                ("self_attn.k_proj", hidden, hidden),
                ("self_attn.v_proj", hidden, hidden),
                ("self_attn.o_proj", hidden, hidden),
                ("mlp.gate_proj", mlp, hidden), ("mlp.up_proj", mlp, hidden),
                ("mlp.down_proj", hidden, mlp)):
            shapes[f"{p}{name}.weight"] = [rows, columns]
        shapes[p + "input_layernorm.weight"] = [hidden]
        shapes[p + "post_attention_layernorm.weight"] = [hidden]
    at, header = 0, {}
    for name, shape in shapes.items():
        size = 2
        for n in shape:
            size *= n
        header[name] = {"dtype": "BF16", "shape": shape,
                        "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(os.path.join(folder, "model.safetensors"), "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        f.truncate(8 + len(text) + at)
    with open(os.path.join(folder, "config.json"), "w",
              encoding="utf-8") as f:
        json.dump({"model_type": "llama", "hidden_size": hidden,
                   "architectures": ["LlamaForCausalLM"],
                   "num_hidden_layers": layers, "intermediate_size": mlp,
                   "num_attention_heads": 16, "num_key_value_heads": 16,
                   "vocab_size": vocab, "max_position_embeddings": 128,
                   "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
                   "tie_word_embeddings": True, "hidden_act": "silu",
                   "eos_token_id": 0}, f)


def check_health():
    """Live from the start; ready when the first call works, never before."""
    s = new_service()
    s.model = os.path.join(s.dir, "large")
    os.mkdir(s.model)
    write_large_model(s.model)
    starting = threading.Thread(target=s.start)
    starting.start()
    seen = []
    while True:
        try:
            assert get(s, "/health/live") == (200, {"status": "ok"})
            status, reply = get(s, "/health/ready")
        except OSError:
            continue
        if status == 200:
            break
        assert status == 503 and "loaded" in reply["why"], reply
        seen.append(status)
        status, _, headers = s.call("create_session", {}, raw=True)
        assert status in (200, 503), status
        if status == 503:
            assert headers["Retry-After"] == "1"
    assert reply == {"ready": True}
    assert s.call("create_session", {})[0] == 200
    assert seen, "it was ready at once: nothing was tested"
    starting.join()
    assert s.stop() == 0
    s.end()


# --- Crashes ----------------------------------------------------------------

def check_crash_in_training():
    """The call is an error; what was before and comes behind is as if it had
    not been."""
    s = new_service(rules=[{"endpoint": "forward_backward", "id": ":train:0",
                            "seq_id": 4, "act": "crash"}])
    s.flags += ["--listen", "127.0.0.1:0"]
    ready, pid = s.start(), s.process.pid
    session = new_session(s)
    hit, well = create(s, session), create(s, session, 1)
    for model in (hit, well):
        s.do("forward_backward", forward_backward(model, 1, DATA))
        s.do("optim_step", optim_step(model, 2))
        s.do("forward_backward", forward_backward(model, 3, DATA))
    # The crash may be quicker than the reply.
    bad = again(s.call, "forward_backward", forward_backward(hit, 4, OTHER))
    assert bad[0] == 200, bad
    reply = again(s.result, bad[1]["request_id"])
    assert reply[1]["category"] == "server", reply
    assert "the engine crashed in this call" in reply[1]["error"], reply
    s.crashes = 1
    s.do("optim_step", optim_step(hit, 5))
    s.do("optim_step", optim_step(well, 4))
    assert steps(s, hit, 6, 2) == steps(s, well, 5, 2)
    assert s.process.pid == pid and s.process.poll() is None
    port = int(ready["http"].rsplit(":", 1)[1])
    c = http.client.HTTPConnection("127.0.0.1", port, timeout=locald.GUARD_S)
    c.request("GET", "/health/live")
    assert c.getresponse().status == 200
    c.close()
    assert s.stop() == 0
    s.start()  # and the log says the same
    assert steps(s, hit, 10, 1) == steps(s, well, 9, 1)
    assert not s.events("replay_differs")
    s.end()


def check_crash_in_sampling():
    s = new_service(rules=[{"endpoint": "asample", "seq_id": 1,
                            "act": "crash"}])
    s.start()
    session = new_session(s)
    sampler = s.call("create_sampling_session", {
        "session_id": session, "sampling_session_seq_id": 0,
        "base_model": "m"})[1]["sampling_session_id"]

    def sample(seq):
        return again(s.call, "asample", {
            "sampling_session_id": sampler, "seq_id": seq,
            "prompt": {"chunks": [{"type": "encoded_text", "tokens": [1]}]},
            "sampling_params": {"max_tokens": 4, "seed": 1}})[1]["request_id"]
    well = s.result(sample(0))
    reply = again(s.result, sample(1))
    assert reply[1]["category"] == "server", reply
    assert "crashed" in reply[1]["error"], reply
    s.crashes = 1
    assert s.result(sample(2))[1]["sequences"] == well[1]["sequences"]
    s.end()


def check_crash_without_a_call():
    """A signal out of the blue: nothing fails. Too many: it dies of it."""
    s = new_service()
    s.start()
    session = new_session(s)
    model = create(s, session)
    for i in range(5):
        os.kill(s.process.pid, signal.SIGSEGV)
        s.crashes += 1
        end = time.monotonic() + locald.GUARD_S
        while len(s.events("restarted")) < s.crashes:
            assert time.monotonic() < end, (s.process.poll(), s.log())
        again(s.call, "optim_step", optim_step(model, i + 1))
    os.kill(s.process.pid, signal.SIGSEGV)
    assert s.process.wait(timeout=locald.GUARD_S) == -signal.SIGSEGV
    s.end()


def check_signals_blocked_before():
    """Whatever mask it is started with: it ends when it is told to."""
    ends = {signal.SIGTERM, signal.SIGINT}
    for signo in ends:
        s = new_service()
        signal.pthread_sigmask(signal.SIG_BLOCK, ends)
        s.start()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ends)
        s.process.send_signal(signo)
        assert s.process.wait(timeout=locald.GUARD_S) == 0
        s.end()


# --- Limits -----------------------------------------------------------------

def refused(service, status, words, path, body):
    got, text, headers = service.call(path, body, raw=True)
    assert got == status and words in text.decode(), (path, got, text)
    return headers


def sample_body(sampler, seq, **params):
    return {"sampling_session_id": sampler, "seq_id": seq,
            "prompt": {"chunks": [{"type": "encoded_text", "tokens": [1]}]},
            "sampling_params": {"max_tokens": 4, "seed": 1, **params}}


def check_limits():
    pause = {"endpoint": "asample", "act": "pause", "ms": 400}
    s = new_service("--max-tokens", "100", "--max-models", "2",
                    "--max-samples", "3", rules=[pause])
    s.start()
    session = new_session(s)
    models = [create(s, session, i) for i in range(2)]
    more = {"session_id": session, "model_seq_id": 2, "base_model": "m",
            "lora_config": {"rank": 4}}
    headers = refused(s, 429, "--max-models", "create_model", more)
    assert headers["Retry-After"] == "5"
    path = s.do("save_weights", {"model_id": models[0], "seq_id": 1,
                                 "path": "a"})["path"]
    refused(s, 429, "--max-models", "load_weights", {
        "session_id": session, "model_seq_id": 2, "path": path,
        "optimizer": True})
    refused(s, 400, "--max-tokens", "forward_backward", forward_backward(
        models[0], 2, [datum(list(range(60))), datum(list(range(43)))]))
    s.do("forward_backward", forward_backward(
        models[0], 3, [datum(list(range(60))), datum(list(range(42)))]))
    sampler = s.call("create_sampling_session", {
        "session_id": session, "sampling_session_seq_id": 0,
        "base_model": "m"})[1]["sampling_session_id"]
    refused(s, 400, "--max-tokens", "asample",
            sample_body(sampler, 0, max_tokens=100))
    ids = []
    for seq in range(3):
        ids.append(s.call("asample", sample_body(sampler, seq))[1]
                   ["request_id"])
    headers = refused(s, 429, "--max-samples", "asample",
                      sample_body(sampler, 3))
    assert headers["Retry-After"] == "1"
    assert s.call("asample", sample_body(sampler, 2))[0] == 200  # known
    for i in ids:
        assert "sequences" in s.result(i)[1]
    ids.append(s.call("asample", sample_body(sampler, 3))[1]["request_id"])
    assert "sequences" in s.result(ids[3])[1]
    # What its session has ended no longer counts.
    assert s.call(f"sessions/{session}/finish", {})[0] == 200
    create(s, new_session(s))
    s.end()


def check_limit_of_files():
    """Connections on both listeners leave files for the work."""
    s = new_service("--listen", "127.0.0.1:0")
    command = s.command()
    s.command = lambda: ["sh", "-c", 'ulimit -n 100; exec "$@"', "sh",
                         *command]
    ready = s.start()
    model = create(s, new_session(s))
    address = ready["http"].split("//")[1]
    held = []
    for i in range(120):
        c = s.connection() if i % 2 else http.client.HTTPConnection(
            address, timeout=1)
        try:
            c.connect()
            c.request("GET", "/health/live")
            held.append(c)
        except OSError:
            c.close()
    first = held[1]
    for seq, path in enumerate(("save_weights", "save_weights_for_sampler")):
        first.getresponse().read()
        first.request("POST", "/api/v1/" + path, json.dumps(
            {"model_id": model, "seq_id": seq + 1, "path": "a"}))
        request = json.loads(first.getresponse().read())["request_id"]
        reply = {"type": "try_again"}
        while reply["type"] == "try_again":
            first.request("POST", "/api/v1/retrieve_future",
                          json.dumps({"request_id": request}))
            reply = json.loads(first.getresponse().read())
            assert "error" not in reply, reply
        first.request("GET", "/health/live")
    for c in held:
        c.close()
    s.end()


# --- The operator -----------------------------------------------------------

def mark(connection, run, body, headers=()):
    connection.request("POST", f"/_operator/training_runs/{run}/corrupted",
                       json.dumps(body), {"Content-Type": "application/json",
                                          **dict(headers)})
    reply = connection.getresponse()
    text = reply.read().decode()
    connection.close()
    return reply.status, text


def check_operator():
    s = new_service("--listen", "127.0.0.1:0")
    key = os.path.join(s.dir, "key")
    with open(key, "w", encoding="ascii") as f:
        f.write("tml-secret\n")
    s.flags += ["--key-file", key]
    ready = s.start()
    model = create(s, new_session(s))
    s.do("optim_step", optim_step(model, 1))
    tcp = http.client.HTTPConnection(ready["http"].split("//")[1],
                                     timeout=locald.GUARD_S)
    reason = {"reason": "the disk lied " + "é" * 200}
    status, text = mark(tcp, model, reason, {"X-API-Key": "tml-secret"})
    assert status == 403 and "operator" in text, (status, text)
    assert mark(s.connection(), "none", reason)[0] == 404
    status, text = mark(s.connection(), model, {})
    assert status == 422 and "reason" in text
    assert s.call(f"training_runs/{model}")[1]["corrupted"] is False
    tcp = http.client.HTTPConnection(ready["http"].split("//")[1],
                                     timeout=locald.GUARD_S)
    for connection, status in (tcp, 403), (s.connection(), 200):
        connection.request("GET", "/_operator/dump",
                           headers={"X-API-Key": "tml-secret"})
        reply = connection.getresponse()
        said = json.loads(reply.read())
        connection.close()
        assert reply.status == status, said
    assert said["models"]["idle"] == 1 and said["sessions"]["live"] == 1, said
    assert mark(s.connection(), model, reason) == (200, "{}")
    s.kill()
    s.start()
    assert s.call(f"training_runs/{model}")[1]["corrupted"] is True
    reply = s.do("optim_step", optim_step(model, 2))
    assert reply["category"] == "server" and "the disk lied" in reply["error"]
    s.end()


def check_foreign_lock():
    """Somebody holds a lock on the store: calls wait, the service lives, and
    ends when it is asked to."""
    s = new_service()
    s.start()
    model = create(s, new_session(s))
    db = sqlite3.connect(os.path.join(s.state, "store.db"),
                         isolation_level=None, timeout=locald.GUARD_S)
    db.execute("BEGIN IMMEDIATE")
    replies = []
    caller = threading.Thread(target=lambda: replies.append(
        s.call("optim_step", optim_step(model, 1))))
    caller.start()
    locald.again(lambda: s.events("store_locked")[0]["waited_ms"]
                 if s.events("store_locked") else (503,))
    assert not replies
    db.execute("ROLLBACK")
    caller.join()
    assert replies[0][0] == 200, replies
    assert "metrics" in s.result(replies[0][1]["request_id"])[1]
    db.execute("BEGIN IMMEDIATE")
    caller = threading.Thread(target=lambda: replies.append(
        s.call("optim_step", optim_step(model, 2))))
    caller.start()
    locald.again(lambda: len(s.events("store_locked")) > 1 or (503,))
    assert s.stop() == 0
    caller.join()
    assert replies[1][0] == 503, replies
    db.close()
    s.start()
    assert "metrics" in s.do("optim_step", optim_step(model, 2))
    assert s.stop() == 0


if __name__ == "__main__":
    locald.run_checks(globals())
