"""The local service and the memory that there is: what can't fit is refused with
numbers, a call that kills the process again and again fails, and a process in a
control group stays below its limit where this machine lets one be made. Large
bodies, large results and training at once stay within one bound.

  service_memory.py LOCALD MODEL BESIDE_MIB

BESIDE_MIB is what the process may take besides the bound, for the program itself
and for what malloc keeps. 0: it is not measured, since a sanitizer keeps what was
freed."""
import json
import os
import shutil
import struct
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
import locald
from locald import create, datum, forward_backward, optim_step

LIMIT = 200 << 20


def long_model():
    """The model with a context of 262,144 tokens."""
    to = tempfile.mkdtemp(prefix="tkz-model-") + "/m"
    shutil.copytree(sys.argv[2], to)
    with open(to + "/config.json") as f:
        config = json.load(f)
    config["max_position_embeddings"] = 262144
    with open(to + "/config.json", "w") as f:
        json.dump(config, f)
    return to


def tokens(n):
    return [datum([i % 60 for i in range(n + 1)])]


def begin(service):
    service.start()
    session = service.call("create_session", {})[1]["session_id"]
    return create(service, session)


def step(service, model, seq):
    service.do("forward_backward", forward_backward(model, seq, tokens(10)))
    return service.do("optim_step", optim_step(model, seq + 1))


def check_refused(service, model, seq):
    """131,072 tokens are refused with what they need; the model goes on."""
    status, reply = service.call(
        "forward_backward", forward_backward(model, seq, tokens(131072)))
    assert status == 400, (status, reply)
    words = reply["detail"].split()
    assert words[:2] == ["forward_backward_input.data:", "needs"], reply
    need, there = int(words[2]), int(words[words.index("available") - 2])
    assert need > there > 0, reply
    assert "metrics" in step(service, model, seq + 1)


def a_call_that_can_never_fit():
    s = locald.Service(sys.argv[1], long_model(), ["--max-memory", str(100 << 20)])
    check_refused(s, begin(s), 1)
    s.stop()


class Grouped(locald.Service):
    group = "/sys/fs/cgroup/memory/tinker-test-%d" % os.getpid()

    def command(self):
        join = 'echo $$ >%s/cgroup.procs && exec "$@"' % self.group
        return ["sh", "-c", join, "sh"] + super().command()


def in_a_control_group():
    try:
        os.mkdir(Grouped.group)
        with open(Grouped.group + "/memory.limit_in_bytes", "w") as f:
            f.write(str(LIMIT))
    except OSError as e:
        print("in_a_control_group: not run, no control group can be made:", e)
        return
    s = Grouped(sys.argv[1], long_model())
    try:
        model = begin(s)
        check_refused(s, model, 1)
        s.do("forward_backward", forward_backward(model, 4, tokens(4096)))
        s.kill()
        s.start()
        assert "metrics" in s.do("optim_step", optim_step(model, 5))
        s.stop()
    finally:
        s.end()
        time.sleep(0.1)
        os.rmdir(Grouped.group)


# --- Everything at once -----------------------------------------------------

MIB = 1 << 20
BESIDE = int(sys.argv[3]) * MIB
BODIES = [MIB // 2, MIB, 2 * MIB, 3 * MIB, 6 * MIB, 24 * MIB]
ROUNDS = 3 if BESIDE else 1  # what a sanitizer sees is in the first
PROMPT = [i % 60 for i in range(4096)]


class Crowd:
    """Threads that ask for much at the same time. Every reply is a result or a
    refusal with numbers, and one for the moment says when to ask again."""

    def __init__(self, service):
        self.service, self.threads, self.error = service, [], None
        self.seen, self.lock = {}, threading.Lock()

    def add(self, work, *args):
        def run():
            try:
                work(*args)
            except BaseException as e:
                self.error = e
        self.threads.append(threading.Thread(target=run))

    def run(self):
        for t in self.threads:
            t.start()
        for t in self.threads:
            t.join()
        if self.error:
            raise self.error

    def call(self, what, path, body):
        """Status and decoded reply."""
        status, text, headers = self.service.call(path, body, raw=True)
        with self.lock:
            self.seen[what, status] = self.seen.get((what, status), 0) + 1
        assert status in (200, 400, 413, 503), (what, status, text[:300])
        reply = json.loads(text)
        if status != 200:
            detail = reply["detail"]
            if "waits" not in detail and "wait to be" not in detail:
                assert any(c.isdigit() for c in detail), (what, reply)
        if status == 503:
            assert headers["Retry-After"], (what, reply)
        return status, reply

    def until_taken(self, what, path, body):
        while True:
            status, reply = self.call(what, path, body)
            if status != 503:
                return status, reply
            time.sleep(0.02)

    def result(self, what, request):
        while True:
            status, reply = self.until_taken(
                what, "retrieve_future", {"request_id": request})
            assert status == 200, reply
            if reply.get("type") != "try_again":
                assert "error" not in reply, reply
                return reply

    def send_bodies(self, model):
        """A call each, with much that nobody reads; a gap lets them wait."""
        for i, size in enumerate(BODIES):
            body = forward_backward(model, 2 + i, tokens(10), pad="x" * size)
            self.until_taken("body", "forward_backward",
                             json.dumps(body).encode())

    def sample(self, session, number, topk):
        status, reply = self.service.call("create_sampling_session", {
            "session_id": session, "sampling_session_seq_id": number,
            "base_model": "m"})
        assert status == 200, reply
        sampler = reply["sampling_session_id"]
        for seq in range(ROUNDS):
            status, reply = self.until_taken("sample", "asample", {
                "sampling_session_id": sampler, "seq_id": seq,
                "num_samples": 1, "prompt_logprobs": True,
                "topk_prompt_logprobs": topk, "prompt": {"chunks": [
                    {"type": "encoded_text", "tokens": PROMPT}]},
                "sampling_params": {"max_tokens": 4, "seed": 1}})
            if status == 200:
                reply = self.result("result", reply["request_id"])
                assert len(reply["topk_prompt_logprobs"]) == len(PROMPT)

    def train(self, model):
        for seq in range(1, 2 * ROUNDS, 2):
            for path, body in (
                    ("forward_backward", forward_backward(
                        model, seq, tokens(2048))),
                    ("optim_step", optim_step(model, seq + 1))):
                status, reply = self.until_taken("train", path, body)
                assert status == 200, reply
                self.result("train", reply["request_id"])


def crowd(service):
    service.start()
    session = service.call("create_session", {})[1]["session_id"]
    models = [create(service, session, n) for n in range(6)]
    c = Crowd(service)
    for m in models[:4]:
        c.add(c.send_bodies, m)
    for n, topk in enumerate((16, 40, 40, 60)):
        c.add(c.sample, session, n, topk)
    for m in models[4:]:
        c.add(c.train, m)
    c.run()
    peak = [l for l in open(f"/proc/{service.process.pid}/status")
            if l.startswith("VmHWM")][0].split()[1]
    assert service.process.poll() is None
    assert ("body", 200) in c.seen and ("body", 413) in c.seen, c.seen
    assert ("result", 200) in c.seen, c.seen
    last = create(service, session, 7)
    assert "metrics" in step(service, last, 1)
    assert service.stop() == 0
    return int(peak) * 1024, c.seen


def everything_in_a_bound():
    bound = 160 * MIB
    s = locald.Service(sys.argv[1], long_model(),
                       ["--max-memory", str(bound)])
    peak, seen = crowd(s)
    print(f"  peak {peak // MIB} MiB of {bound // MIB}", sorted(seen.items()))
    assert not BESIDE or peak < bound + BESIDE, peak


def everything_in_a_control_group():
    if not BESIDE:
        print("  not run under a sanitizer")
        return
    try:
        os.mkdir(Grouped.group)
        with open(Grouped.group + "/memory.limit_in_bytes", "w") as f:
            f.write(str(LIMIT))
    except OSError as e:
        print("  not run, no control group can be made:", e)
        return
    s = Grouped(sys.argv[1], long_model())
    try:
        peak, seen = crowd(s)
        print(f"  peak {peak // MIB} MiB of {LIMIT // MIB}",
              sorted(seen.items()))
    finally:
        s.end()
        time.sleep(0.1)
        os.rmdir(Grouped.group)


def doing(service):
    """The row of the call that the process executes, as its file says; 0 or
    less: none, or it goes through the log again."""
    with open(service.state + "/trying", "rb") as f:
        return struct.unpack("24xq", f.read(32))[0]


def killed_in_the_same_call():
    """Three times by SIGKILL, as the kernel does for want of memory."""
    s = locald.Service(sys.argv[1], long_model())
    model = begin(s)
    status, reply = s.call(
        "forward_backward", forward_backward(model, 1, tokens(32768)))
    assert status == 200, reply
    deaths = 0
    while deaths < 3:
        while doing(s) <= 0:
            time.sleep(0.001)
        s.kill()
        deaths += doing(s) > 0  # not if it came between two pieces
        s.start()
    status, failed = s.result(reply["request_id"])
    assert failed["category"] == "server", failed
    assert "was killed 3 times" in failed["error"], failed
    s.event("killed_in_call", times="3")
    assert "metrics" in step(s, model, 2)
    s.stop()


CHECKS = [a_call_that_can_never_fit, in_a_control_group,
          everything_in_a_bound, everything_in_a_control_group,
          killed_in_the_same_call]

if __name__ == "__main__":
    for check in CHECKS:
        check()
        print(check.__name__ + ": ok", flush=True)
