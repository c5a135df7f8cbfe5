"""A disk that is full, and a state folder that can't be written.

  service_disk.py LOCALD MODEL

The state folder lies on a small tmpfs; where none can be mounted the process
may write no file beyond a size instead (RLIMIT_FSIZE, EFBIG). A client trains
and saves until the disk is full: every call is answered with a result, with an
error, or the service ends with exit code 1, and nothing is told that is not
so. With space again and after a restart all that was acknowledged is there,
and the model has the weights of an undisturbed one."""
import os
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
import locald

# Where the disk ends decides what meets it first: an accepted call, a result,
# a checkpoint.
SIZES = [2048, 2272, 2664, 3072]  # KiB
ENDED = 1  # exit code: failed while running
STATE = 3  # exit code: state folder


class SmallDisk(locald.Service):
    """A service whose state folder has little room until grow()."""

    def __init__(self, program, model, kib, tmpfs, flags=()):
        super().__init__(program, model, flags)
        self.kib = kib
        self.mounted = False
        if tmpfs:
            os.mkdir(self.state, 0o700)
            self.mounted = subprocess.run(
                ["mount", "-t", "tmpfs", "-o", f"size={kib}k,mode=700",
                 "tmpfs", self.state], check=False,
                stderr=subprocess.DEVNULL).returncode == 0
        self.limited = not self.mounted

    def command(self):
        if not self.limited:
            return super().command()
        code = ("import os,resource,signal,sys;"
                "signal.signal(signal.SIGXFSZ,signal.SIG_IGN);"
                "hard=resource.getrlimit(resource.RLIMIT_FSIZE)[1];"
                "resource.setrlimit(resource.RLIMIT_FSIZE,"
                f"({self.kib * 512},hard));"
                "os.execv(sys.argv[1],sys.argv[1:])")
        return [sys.executable, "-c", code, *super().command()]

    def grow(self):
        self.limited = False
        if self.mounted:
            subprocess.run(["mount", "-o", "remount,size=200m", self.state],
                           check=True)

    def end(self):
        if self.process and self.process.poll() is None:
            self.kill()
        if self.mounted:
            subprocess.run(["umount", self.state], check=False)
            self.mounted = False
        super().end()


class Client:
    """One call after the other; what came of each is kept."""

    def __init__(self, service):
        self.service = service
        self.seq = 0
        self.accepted = []    # (path, body, request id), in order
        self.results = {}     # request id: result
        self.refused = 0

    def call(self, path, body):
        """Until it is accepted (True) or refused with 503 (False); None when
        the service has ended."""
        try:
            status, reply = self.service.call(path, body)
        except (OSError, locald.http.client.HTTPException):
            return None
        if status == 200:
            self.accepted.append((path, body, reply["request_id"]))
            return True
        assert status == 503, (path, status, reply)
        assert reply["detail"], reply
        self.refused += 1
        return False

    def collect(self):
        """The result of the last accepted call; None when the service ended
        or will."""
        request_id = self.accepted[-1][2]
        end = time.monotonic() + locald.GUARD_S
        while time.monotonic() < end:
            try:
                status, reply = self.service.call(
                    "retrieve_future", {"request_id": request_id})
            except (OSError, locald.http.client.HTTPException):
                return None
            assert status == 200, (request_id, status, reply)
            if reply.get("type") != "try_again":
                self.results[request_id] = reply
                return reply
            if self.service.process.poll() is not None:
                return None
        raise TimeoutError(request_id)


def next_call(model_id, n):
    """Call n (from 0) of the model, a save in four."""
    if n % 4 == 3:
        return "save_weights", {"model_id": model_id, "seq_id": n + 1,
                                "path": f"c{n}"}
    if n % 4 == 2:
        return "optim_step", locald.optim_step(model_id, n + 1)
    return "forward_backward", locald.forward_backward(
        model_id, n + 1, [locald.datum([(n + i * 7) % 64 for i in range(40)])])


def paths(service):
    status, reply = service.call("checkpoints?limit=1000")
    assert status == 200, reply
    return {c["tinker_path"] for c in reply["checkpoints"]}


def fill(service, client, model_id):
    """Works until the disk has refused several things; False when the service
    ended by itself."""
    trouble = 0
    while trouble < 8:
        done = client.call(*next_call(model_id, client.seq))
        if done is None:
            return False
        if not done:
            trouble += 1
            continue
        client.seq += 1
        result = client.collect()
        if result is None:
            return False
        if "error" in result:
            assert result["category"] == "server", result
            assert any(w in result["error"] for w in
                       ("No space left", "File too large")), result
            trouble += 1
        assert client.seq < 2000, "the disk never got full"
    return True


def undisturbed(program, model, client):
    """What the calls that succeeded give on a service that is left alone."""
    service = locald.Service(program, model)
    service.start()
    session = service.call("create_session", {})[1]["session_id"]
    model_id = locald.create(service, session)
    results, seq = [], 0
    for path, body, request_id in client.accepted:
        if "error" in client.results[request_id] or path == "save_weights":
            continue
        seq += 1
        results.append((request_id, service.do(
            path, {**body, "model_id": model_id, "seq_id": seq})))
    assert service.stop() == 0
    return results


def check_full(program, model, kib, tmpfs):
    service = SmallDisk(program, model, kib, tmpfs, ["--snapshot-ms", "50"])
    print("small disk:", "tmpfs" if service.mounted else "RLIMIT_FSIZE", kib)
    service.start()
    session = service.call("create_session", {})[1]["session_id"]
    model_id = locald.create(service, session)
    client = Client(service)
    alive = fill(service, client, model_id)
    told = {r["path"] for r in client.results.values() if "path" in r}
    failed = sum("error" in r for r in client.results.values())
    assert failed or client.refused or not alive
    if alive:
        assert service.call("healthz")[0] == 200
        assert paths(service) == told
        code = service.stop()
        assert code in (0, ENDED), (code, service.log()[-2000:])
    else:
        code = service.process.wait(timeout=locald.GUARD_S)
        assert code == ENDED, (code, service.log()[-2000:])
        service.process.stdout.close()
    print(f"{len(client.accepted)} accepted, {len(client.results)} results, "
          f"{failed} failed, {client.refused} refused, exit code {code}")

    service.grow()
    service.start()
    before = dict(client.results)
    for path, _, request_id in client.accepted:
        status, reply = service.result(request_id)
        assert status == 200, (request_id, status, reply)
        assert before.get(request_id, reply) == reply, (request_id, reply)
        client.results[request_id] = reply
        if path == "save_weights" and "error" not in reply:
            told.add(reply["path"])
    assert paths(service) == told
    for _ in range(4):  # and it goes on
        assert client.call(*next_call(model_id, client.seq))
        client.seq += 1
        assert "error" not in client.collect()
    expected = undisturbed(program, model, client)
    for request_id, reply in expected:
        got = client.results[request_id]
        assert got.get("loss_fn_outputs") == reply.get("loss_fn_outputs"), \
            request_id
    assert service.stop() == 0  # while it runs a snapshot may be under way
    for kind in ("checkpoints", "snapshots"):
        names = os.listdir(os.path.join(service.state, kind))
        assert not [n for n in names if n.endswith(".tmp")], names
    service.end()


def check_read_only(program, model):
    """Read-only file system where it can be mounted, else a folder without
    permission (which stops nobody who is root, who can mount)."""
    service = SmallDisk(program, model, 1024, True)
    os.makedirs(service.state, exist_ok=True)
    if service.mounted:
        subprocess.run(["mount", "-o", "remount,ro", service.state],
                       check=True)
        words = "Read-only file system"
    else:
        os.chmod(service.state, 0o500)
        words = "Permission denied"
    service.limited = False
    done = subprocess.run(service.command(), capture_output=True, text=True,
                          timeout=locald.GUARD_S, check=False)
    assert done.returncode == STATE, done
    assert service.state in done.stderr and words in done.stderr, done.stderr
    print("read only:", done.stderr.strip().replace(service.state, "STATE"))
    if not service.mounted:
        os.chmod(service.state, 0o700)
    service.end()


def main():
    program, model = sys.argv[1:3]
    for kib in SIZES:
        check_full(program, model, kib, True)
    check_full(program, model, SIZES[0], False)
    check_read_only(program, model)


if __name__ == "__main__":
    main()
