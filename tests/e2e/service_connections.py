"""Connections that nobody uses don't shut others out.

  service_connections.py LOCALD MODEL

Order is checked, not time: without its rules the service would get there too,
but only after the longest poll, or never."""
import json
import os
import socket
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
import locald
from locald import create, optim_step


class Few(locald.Service):
    """May open few files: 64 connections on each of two listeners."""

    def command(self):
        return ["sh", "-c", 'ulimit -n 256; exec "$0" "$@"',
                *super().command()]


def request(path, body):
    data = json.dumps(body).encode()
    return (f"POST /api/v1/{path} HTTP/1.1\r\nHost: localhost\r\n"
            "X-API-Key: tml-x\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(data)}\r\n\r\n").encode() + data


def files(s):
    return len(os.listdir(f"/proc/{s.process.pid}/fd"))


def wait_until(what):
    end = time.monotonic() + locald.GUARD_S
    while not what():
        assert time.monotonic() < end
        time.sleep(0.01)


def unix(s, data):
    c = socket.socket(socket.AF_UNIX)
    c.settimeout(locald.GUARD_S)
    c.connect(s.socket)
    c.sendall(data)
    return c


def tcp(port, data):
    c = socket.create_connection(("127.0.0.1", port), locald.GUARD_S)
    c.sendall(data)
    return c


def answered(c):
    c.setblocking(False)
    try:
        return bool(c.recv(1, socket.MSG_PEEK))
    except BlockingIOError:
        return False
    finally:
        c.setblocking(True)


def start(*flags):
    s = Few(*sys.argv[1:3], ["--listen", "127.0.0.1:0", *flags])
    port = int(s.start()["http"].rsplit(":", 1)[1])
    return s, port


def check_abandoned_polls_give_their_places_back():
    """On both kinds of sockets, also with bytes behind the request. A poll that
    was there before them is still parked when they are gone."""
    s, port = start("--poll-ms", "44000")
    model = create(s, s.call("create_session", {})[1]["session_id"])
    late = s.call("optim_step", optim_step(model, 2))[1]["request_id"]
    poll = request("retrieve_future", {"request_id": late})
    live = [unix(s, poll), tcp(port, poll)]
    wait_until(lambda: files(s) > 2)
    time.sleep(0.1)
    before = files(s)
    gone = [unix(s, poll) for _ in range(12)]
    gone += [tcp(port, poll) for _ in range(12)]
    gone += [tcp(port, poll + b"GET") for _ in range(5)]
    wait_until(lambda: files(s) >= before + len(gone))
    for c in gone:
        c.close()
    wait_until(lambda: files(s) <= before)
    assert not any(answered(c) for c in live)
    assert s.call("optim_step", optim_step(model, 1))[0] == 200
    for c in live:
        assert c.recv(100).startswith(b"HTTP/1.1 200"), "the live one is served"
        c.close()
    assert s.stop() == 0


def check_polls_leave_places():
    """More polls than the port has places: the oldest are sent away, and a
    short call is answered while the others wait."""
    s, port = start("--poll-ms", "44000")
    model = create(s, s.call("create_session", {})[1]["session_id"])
    late = s.call("optim_step", optim_step(model, 2))[1]["request_id"]
    poll = request("retrieve_future", {"request_id": late})
    polls = [tcp(port, poll) for _ in range(70)]
    c = tcp(port, b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert c.recv(100).startswith(b"HTTP/1.1 200")
    assert sum(answered(p) for p in polls) < 40, "the others still wait"
    for p in polls + [c]:
        p.close()
    assert s.stop() == 0


def check_slow_heads_make_room():
    """Heads that never end, and drip: the port is full of them, and a whole
    request is answered."""
    s, port = start()
    slow = [tcp(port, b"POST /api/v1/create_session HTTP/1.1\r\nHost: l\r\nX-")
            for _ in range(64)]
    status = []

    def ask():
        c = tcp(port, b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
        status.append(c.recv(100)[:12])
        c.close()

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    open_ones, end = len(slow), time.monotonic() + 100
    while not status:
        assert time.monotonic() < end, "slow heads shut the others out"
        open_ones = 0
        for c in slow:
            try:
                c.sendall(b"a")
                open_ones += 1
            except OSError:
                pass
        time.sleep(0.1)
    thread.join()
    assert status == [b"HTTP/1.1 200"], status
    assert open_ones > 32, "only as many as had to go"
    for c in slow:
        c.close()
    assert s.stop() == 0


if __name__ == "__main__":
    locald.run_checks(globals())
