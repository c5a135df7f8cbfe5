"""The local service and the memory that there is: what can't fit is refused with
numbers, a call that kills the process again and again fails, and a process in a
control group stays below its limit where this machine lets one be made.

  service_memory.py LOCALD MODEL"""
import json
import os
import shutil
import struct
import sys
import tempfile
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


def doing(service):
    """The call that the process executes, as its file says."""
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
        while not doing(s):
            time.sleep(0.001)
        s.kill()
        deaths += doing(s) != 0  # not if it came between two pieces
        s.start()
    status, failed = s.result(reply["request_id"])
    assert failed["category"] == "server", failed
    assert "was killed 3 times" in failed["error"], failed
    s.event("killed_in_call", times="3")
    assert "metrics" in step(s, model, 2)
    s.stop()


CHECKS = [a_call_that_can_never_fit, in_a_control_group,
          killed_in_the_same_call]

if __name__ == "__main__":
    for check in CHECKS:
        check()
        print(check.__name__ + ": ok", flush=True)
