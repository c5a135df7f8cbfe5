"""Many at once: 512 samples, 2,000 parked long polls, and calls in between.

  service_load.py LOCALD MODEL MIB

Nothing fails, and the service grows by less than MIB. Prints what it took: how
long small calls wait under that load, the memory that parked polls hold, and for
how long one thread has held the service's lock, at most. 512 samples stay under
way until enough small calls have been made, by a process of their own: what this
one is busy with does not count as the service's time."""
import asyncio
import http.client
import itertools
import json
import os
import resource
import socket
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
import locald
from locald import create, optim_step

SAMPLES, POLLS, OPENING, SMALL = 512, 2000, 200, 600


async def connect(socket):
    while True:
        try:
            return await asyncio.open_unix_connection(socket)
        except BlockingIOError:  # the listen queue is full
            await asyncio.sleep(0.01)


async def call(path, socket, body, gate):
    """One request on a connection of its own: (status, decoded reply)."""
    data = json.dumps(body).encode()
    head = (f"POST /api/v1/{path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(data)}"
            "\r\n\r\n").encode()
    async with gate:
        reader, writer = await connect(socket)
    writer.write(head + data)
    reply = await reader.read()
    writer.close()
    head, _, text = reply.partition(b"\r\n\r\n")
    return int(head.split(b" ", 2)[1]), json.loads(text)


def memory(pid):
    with open(f"/proc/{pid}/statm", encoding="ascii") as f:
        return int(f.read().split()[1]) * resource.getpagesize()


async def parked(socket, request_id, gate, n):
    """Polls one future until it is done; how often it was asked for."""
    while True:
        status, reply = await call("retrieve_future", socket,
                                   {"request_id": request_id}, gate)
        assert status == 200, (status, reply)
        if reply.get("type") != "try_again":
            assert "metrics" in reply, reply
            return
        n[0] += 1


async def sampled(socket, sampler, seq, gate):
    status, reply = await call("asample", socket, {
        "sampling_session_id": sampler, "seq_id": seq, "num_samples": 1,
        "prompt": {"chunks": [{"type": "encoded_text",
                               "tokens": [1 + seq % 60, 2]}]},
        "sampling_params": {"max_tokens": 24, "seed": seq, "stop": []}}, gate)
    assert status == 200, (status, reply)
    while True:
        status, result = await call("retrieve_future", socket, {
            "request_id": reply["request_id"]}, gate)
        assert status == 200, (status, result)
        if result.get("type") != "try_again":
            assert len(result["sequences"][0]["tokens"]) == 24, result
            return


def bookkeeping(path, model):
    """Small calls over one connection: how long each took, sorted, in ms."""
    connection, times = http.client.HTTPConnection("localhost"), []
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(path)
    body = json.dumps({"model_id": model})
    while len(times) < SMALL:
        begin = time.monotonic()
        connection.request("POST", "/api/v1/get_info", body,
                           {"Content-Type": "application/json"})
        reply = connection.getresponse()
        text = reply.read()
        times.append(round(1e3 * (time.monotonic() - begin), 3))
        assert reply.status == 200, (reply.status, text)
    print(json.dumps(sorted(times)))


async def sampling(socket, sampler, numbers, gate, done):
    """One sample after the other, until all is done: how many."""
    n = 0
    while not n or not done.is_set():
        await sampled(socket, sampler, next(numbers), gate)
        n += 1
    return n


async def load(s, model, sampler, late):
    gate, numbers = asyncio.Semaphore(OPENING), itertools.count()
    done, again = asyncio.Event(), [0]
    before = memory(s.process.pid)
    polls = [asyncio.create_task(parked(s.socket, late, gate, again))
             for _ in range(POLLS)]
    while len(os.listdir(f"/proc/{s.process.pid}/fd")) < POLLS:
        assert not any(p.done() for p in polls)
        await asyncio.sleep(0.01)
    waiting = memory(s.process.pid)
    small = await asyncio.create_subprocess_exec(
        sys.executable, __file__, "--calls", s.socket, model,
        stdout=subprocess.PIPE)
    begin = time.monotonic()
    samples = [asyncio.create_task(sampling(s.socket, sampler, numbers, gate,
                                            done)) for _ in range(SAMPLES)]
    times = json.loads((await small.communicate())[0])
    done.set()
    samples = sum(await asyncio.gather(*samples))
    took = time.monotonic() - begin
    assert not any(p.done() for p in polls)
    # The number that all wait for.
    status, _ = await call("optim_step", s.socket, optim_step(model, 1), gate)
    assert status == 200
    await asyncio.gather(*polls)
    growth = memory(s.process.pid) - before
    assert growth < int(sys.argv[3]) << 20, growth
    return {"samples": samples, "samples_s": round(took, 3),
            "polls": POLLS, "polls_sent_again": again[0],
            "bytes_per_parked_poll": (waiting - before) // POLLS,
            "memory_growth_mib": round(growth / 2**20, 1),
            "small_calls": len(times),
            "small_call_p50_ms": times[len(times) // 2],
            "small_call_p99_ms": times[len(times) * 99 // 100],
            "small_call_max_ms": times[-1]}


def main():
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit[1], limit[1]))
    s = locald.Service(*sys.argv[1:3])
    s.start()
    session = s.call("create_session", {})[1]["session_id"]
    model = create(s, session)
    sampler = s.call("create_sampling_session", {
        "session_id": session, "sampling_session_seq_id": 0,
        "base_model": "m"})[1]["sampling_session_id"]
    late = s.call("optim_step", optim_step(model, 2))[1]["request_id"]
    print(json.dumps(asyncio.run(load(s, model, sampler, late))))
    assert s.stop() == 0
    longest = s.event("longest_hold")
    print(json.dumps({"longest_hold_us": int(longest["microseconds"]),
                      "by": longest["by"]}))
    print("1 passed, 0 failed")


if __name__ == "__main__":
    if sys.argv[1] == "--calls":
        bookkeeping(*sys.argv[2:])
    else:
        main()
