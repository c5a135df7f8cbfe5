"""What may be done to a checkpoint after it was saved: another time to live,
publishing, deletion. What was told survives a kill; nothing else depends on a
deleted one; a folder of the version before opens.

  service_checkpoints.py LOCALD MODEL"""
import datetime
import json
import os
import sqlite3
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
import locald
from locald import create, datum, forward_backward, optim_step
from service_protocol import expect, new_session, sample_body, submit

DATA = [datum([1, 2, 3, 4, 5, 6])]


def folders(service):
    return sorted(os.listdir(os.path.join(service.state, "checkpoints")))


def listed(service, model):
    reply = service.call(f"training_runs/{model}/checkpoints")[1]
    return {c["checkpoint_id"]: c for c in reply["checkpoints"]}


def route(model, name, more=""):
    return f"training_runs/{model}/checkpoints/{name}{more}"


def save(service, model, seq, name, kind="save_weights", **more):
    return service.do(kind, {"model_id": model, "seq_id": seq, "path": name,
                             **more})["path"]


def restart(service):
    service.kill()
    service.start()


def refusals(service, model):
    """Of all four calls, for ids that name nothing."""
    for status, words, name in [
            (404, "not found", "weights/none"),
            (404, "not found", "sampler_weights/a"),
            (400, "Invalid tinker path", "other/a"),
            (400, "Invalid tinker path", "external_weights/a"),
            (404, "no such endpoint", "weights/a/b/c"),
            (404, "not found", "weights/" + "x" * 900)]:
        for method, more, body in [("DELETE", "", None),
                                   ("POST", "/publish", None),
                                   ("DELETE", "/publish", None),
                                   ("PUT", "/ttl", {"ttl_seconds": None})]:
            expect(service, status, words, route(model, name, more), body,
                   method=method)
    expect(service, 404, "not found", route("none", "weights/a"),
           method="DELETE")
    expect(service, 405, "GET", route(model, "weights/a"))


def check_time_to_live(service):
    model = create(service, new_session(service))
    save(service, model, 1, "a", ttl_seconds=7200)
    refusals(service, model)
    ttl = route(model, "weights/a", "/ttl")
    for status, body in [(400, {"ttl_seconds": 0}),
                         (400, {"ttl_seconds": 3599}),
                         (400, {"ttl_seconds": 10 ** 10}),
                         (422, {"ttl_seconds": "x"}),
                         (422, {"ttl_seconds": 4000.5}), (422, {}),
                         (422, {"ttl": 4000}), (422, b"[]"), (422, b"")]:
        expect(service, status, "JSON" if isinstance(body, bytes)
               else "ttl_seconds", ttl, body, method="PUT")

    def left():
        at = datetime.datetime.fromisoformat(
            listed(service, model)["weights/a"]["expires_at"])
        return (at - datetime.datetime.now(datetime.timezone.utc)
                ).total_seconds()
    assert 7100 < left() <= 7200, left()
    for seconds in (3600, 10 * 365 * 24 * 3600):
        assert service.call(ttl, {"ttl_seconds": seconds}, method="PUT") == (
            204, None)
        restart(service)
        assert seconds - 60 < left() <= seconds, left()
    assert service.call(ttl, {"ttl_seconds": None}, method="PUT")[0] == 204
    restart(service)
    assert "expires_at" not in listed(service, model)["weights/a"]


def check_publishing(service):
    model = create(service, new_session(service))
    save(service, model, 1, "a")
    save(service, model, 2, "a", "save_weights_for_sampler")
    publish = route(model, "sampler_weights/a", "/publish")
    public = lambda: [c["public"] for _, c in sorted(
        listed(service, model).items())]
    expect(service, 409, "already private", publish, method="DELETE")
    assert service.call(publish, method="POST") == (204, None)
    expect(service, 409, "already public", publish, b"{}", method="POST")
    assert public() == [True, False]
    restart(service)
    assert public() == [True, False]
    assert service.call(publish, method="DELETE") == (204, None)
    assert public() == [False, False]
    restart(service)
    assert public() == [False, False]
    # What takes a public one's place is private.
    assert service.call(route(model, "weights/a", "/publish"),
                        method="POST")[0] == 204
    assert public() == [False, True]
    save(service, model, 3, "a", overwrite=True)
    assert public() == [False, False]


def steps(service, model, first, n):
    losses = []
    for seq in range(first, first + 2 * n, 2):
        reply = service.do("forward_backward",
                           forward_backward(model, seq, DATA))
        losses.append(reply["metrics"]["loss:sum"])
        service.do("optim_step", optim_step(model, seq + 1))
    return losses


def check_deletion(service):
    """Row and folder go; what was made of the checkpoint stays, also after a
    kill; a sampling session on it says what happened."""
    session = new_session(service)
    model = create(service, session)
    alone = create(service, session, 1)
    wanted = steps(service, alone, 1, 6)
    assert steps(service, model, 1, 2) == wanted[:2]
    before = folders(service)
    path = save(service, model, 5, "a")
    sampled = save(service, model, 6, "s", "save_weights_for_sampler")
    resumed = service.do("load_weights", {
        "session_id": session, "model_seq_id": 2, "path": path,
        "optimizer": True})["model_id"]
    loaded = create(service, session, 3)
    service.do("load_weights", {"model_id": loaded, "seq_id": 1, "path": path,
                                "optimizer": True})
    samplers = [service.call("create_sampling_session", {
        "session_id": session, "sampling_session_seq_id": i,
        "model_path": sampled})[1]["sampling_session_id"] for i in range(2)]
    service.do("asample", sample_body(samplers[0], 0))  # the adapter is loaded
    for name in ("weights/a", "sampler_weights/s"):
        assert service.call(route(model, name), method="DELETE") == (204, None)
        expect(service, 404, "not found", route(model, name), method="DELETE")
    assert folders(service) == before
    assert listed(service, model) == {}
    assert steps(service, resumed, 1, 2) == wanted[2:4]
    for after in (False, True):
        if after:
            restart(service)
        assert folders(service) == before and listed(service, model) == {}
        run = service.call(f"training_runs/{model}")[1]
        assert run["last_checkpoint"] is None
        for i, sampler in enumerate(samplers):
            reply = service.result(submit(
                service, "asample", sample_body(sampler, 1 + after)))[1]
            assert reply["category"] == "user", reply
            assert f"{sampled} was deleted" in reply["error"], reply
        expect(service, 404, "not found", "weights_info",
               {"tinker_path": path})
        expect(service, 404, "not found", "load_weights", {
            "session_id": session, "model_seq_id": 8 + after, "path": path,
            "optimizer": True})
    assert steps(service, resumed, 5, 2) == wanted[4:]
    assert steps(service, loaded, 2, 4) == wanted[2:]
    # The name is free again, and the run itself never noticed.
    assert steps(service, model, 7, 4) == wanted[2:]
    assert save(service, model, 15, "a") == path
    assert list(listed(service, model)) == ["weights/a"]


def check_at_once(service):
    """Changes of one checkpoint from many sides, next to saves in its place:
    each is done or refused, and what stays is whole."""
    session = new_session(service)
    model = create(service, session)
    before = folders(service)
    replies = []

    def change(method, more, body=None):
        replies.append(service.call(route(model, "weights/x", more), body,
                                    method=method)[0])
    for round_ in range(10):
        seq = 2 * round_ + 1
        if round_ % 2 == 0:
            save(service, model, seq, "x", overwrite=True)
        else:
            service.do("optim_step", optim_step(model, seq))
        threads = [threading.Thread(target=change, args=a) for a in [
            ("DELETE", ""), ("DELETE", ""), ("POST", "/publish"),
            ("PUT", "/ttl", {"ttl_seconds": 4000})]]
        for t in threads:
            t.start()
        save(service, model, seq + 1, "x", overwrite=True)
        for t in threads:
            t.join()
    assert set(replies) <= {204, 404, 409} and 204 in replies, replies
    assert len(folders(service)) - len(before) == len(listed(service, model))
    now = folders(service), listed(service, model)
    restart(service)
    assert (folders(service), listed(service, model)) == now


def check_ledger(program, model):
    """What was changed is in the ledger, what was refused is not."""
    service = locald.Service(program, model)
    plan = os.path.join(service.dir, "plan")
    with open(plan, "w", encoding="ascii") as f:
        f.write('{"rules": []}')
    service.flags += ["--faults", plan]
    service.start()
    run = create(service, new_session(service))
    path = save(service, run, 1, "a")
    for _ in range(2):
        for method, more, body in [
                ("POST", "/publish", None), ("DELETE", "", None),
                ("PUT", "/ttl", {"ttl_seconds": None})]:
            service.call(route(run, "weights/a", more), body, method=method)
    c = service.connection()
    c.request("GET", "/_test/ledger")
    lines = [(e["endpoint"], e["id"]) for e in json.load(c.getresponse())[
        "entries"] if "checkpoints" in e["endpoint"]]
    at = "training_runs/*/checkpoints/*/*"
    assert lines == [(f"POST {at}/publish", path), (f"DELETE {at}", path)], \
        lines
    assert service.stop() == 0


def make_old(state):
    """A state folder as the first version wrote it: nothing was public, and
    nothing said whose a folder is."""
    db = sqlite3.connect(os.path.join(state, "store.db"))
    db.executescript("DROP TRIGGER checkpoint_gone; DROP TRIGGER snapshot_gone;"
                     "DROP TABLE gone; DROP TABLE store;"
                     "ALTER TABLE checkpoints DROP COLUMN public;"
                     "PRAGMA user_version=1;")
    db.close()
    os.remove(os.path.join(state, "mark"))
    for folder, _, files in os.walk(state):
        if "tinker.json" in files:
            os.remove(os.path.join(folder, "tinker.json"))


def check_older_folder(service):
    """Of a version before this one: it is taken over, once."""
    model = create(service, new_session(service))
    save(service, model, 1, "old", ttl_seconds=7200)
    was = listed(service, model)
    assert service.stop() == 0
    make_old(service.state)
    service.start()
    assert os.path.exists(os.path.join(service.state, "tinker.json"))
    assert listed(service, model) == was
    assert service.call(route(model, "weights/old", "/publish"),
                        method="POST")[0] == 204
    restart(service)
    assert listed(service, model) == {
        "weights/old": {**was["weights/old"], "public": True}}


def main():
    service = locald.Service(*sys.argv[1:3], ["--poll-ms", "1500"])
    service.start()
    checks = [check_time_to_live, check_publishing, check_deletion,
              check_at_once, check_older_folder]
    for check in checks:
        check(service)
    assert service.stop() == 0
    check_ledger(*sys.argv[1:3])
    print(f"{len(checks) + 1} groups of checks passed")


if __name__ == "__main__":
    main()
