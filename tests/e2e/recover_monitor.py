"""The monitor of a run: a model that the service shows as corrupted is given up
although its training calls succeed; what says nothing of the model, or says it
once, is no reason for anything. Detection times are printed, not asserted.

  recover_monitor.py LOCALD MODEL PROGRAM [NAME...]

`default` as a name measures with the default period (half a minute)."""
import concurrent.futures
import json
import os
import signal
import sqlite3
import sys
import time

from recover_faults import EVERY, STEP_COMMIT, Run, undisturbed
import locald

SIGNAL, EPOCH_ACTIVE = 60, 72
RECORD = "training_runs/*"
CALM = ["watch", 200, "pause", 150]
NOT_FOUND = {"status": 404, "body": '{"detail": "training run not found"}',
             "content_type": "application/json"}
PORTAL = {"status": 200, "body": "<html>log in</html>",
          "content_type": "text/html"}
OTHERS = {"status": 200, "content_type": "application/json",
          "body": json.dumps({
              "training_runs": [{
                  "training_run_id": "other", "base_model": "m",
                  "model_owner": "", "is_lora": True, "lora_rank": 4,
                  "corrupted": False,
                  "last_request_time": "2026-01-01T00:00:00Z"}],
              "cursor": {"offset": 0, "limit": 3, "total_count": 1}})}


def on(endpoint, act, **more):
    return {"endpoint": endpoint, "act": act, **more}


def fired(run):
    """When rules fired, in milliseconds of the wall clock."""
    path = f"{run.service.state}/ledger.jsonl"
    if not os.path.exists(path):
        return []
    with open(path, encoding="utf-8") as f:
        entries = [json.loads(line) for line in f]
    return [e["at_ms"] for e in entries if e["event"] == "fault"]


def noted(run, kind, name="supervisor"):
    path = f"{run.folder}/runs/numbers/{name}.db"
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as db:
        return db.execute("SELECT wall_ms, fields FROM record WHERE type = ?"
                          " ORDER BY id", (kind,)).fetchall()


def rolled_back(run, name, settings, evidence):
    """Once, for this reason, with the losses of the undisturbed run."""
    signals = noted(run, SIGNAL)
    assert len(signals) == 1, (name, signals, run.errors)
    assert evidence in json.loads(signals[0][1])["evidence"], signals
    epochs = run.said("epoch_active")  # to the beginning is no rollback
    assert len(epochs) == 2, (name, run.errors)
    assert len(run.said("rollback")) == (epochs[1]["step"] > 0), (name,
                                                                  run.errors)
    assert evidence in run.said("incident")[0]["facts"]["cause"], run.errors
    assert run.lost() <= EVERY, (name, run.errors)
    assert run.committed() == undisturbed(settings), (name, run.errors)
    # The step that was under way may end; no other begins.
    later = [1 for wall_ms, _ in noted(run, STEP_COMMIT, "e1")
             if wall_ms > signals[0][0]]
    assert len(later) <= 1, (name, len(later))
    return signals[0][0], noted(run, EPOCH_ACTIVE)[-1][0]


# Name: the rules, and what the record says of it.
FOUND = {
    "corrupted": ([on(RECORD, "show_corrupted", after=2, times=2)],
                  "shows the model as corrupted"),
    # F03: the second time counts, however late it is.
    "flapping": ([on(RECORD, "show_corrupted", nth=2),
                  on(RECORD, "show_corrupted", nth=6)],
                 "shows the model as corrupted"),
    # F08
    "record_gone": ([on(RECORD, "status", after=2, times=2, **NOT_FOUND),
                     on("training_runs", "status", **OTHERS)],
                    "no record of the model"),
}
# Name: the rules, how often they fire at least.
IGNORED = {
    "shown_once": ([on(RECORD, "show_corrupted", nth=3)], 1),
    # F11: the list has it, or has nothing at all.
    "not_found_and_listed": ([on(RECORD, "status", after=2, **NOT_FOUND)], 3),
    "not_found_and_nothing_listed":
        ([on(RECORD, "status", after=2, **NOT_FOUND),
          on("training_runs", "stale_list", ms=10 ** 8)], 3),
    "never_found": ([on(RECORD, "status", **NOT_FOUND),
                     on("training_runs", "status", **OTHERS)], 3),
    # F18, F83, F86, F87, F88 and needs.md 17, at the runs alone
    "storm": ([on(RECORD, "status", status=503)], 2),
    "half_of_a_storm": ([on(RECORD, "status", status=503, probability=0.5)], 1),
    "key_refused": ([on(RECORD, "status", status=401)], 2),
    "half_refused": ([on(RECORD, "status", status=401, probability=0.5)], 1),
    "billing": ([on(RECORD, "status", status=402)], 1),
    "access": ([on(RECORD, "status", status=403)], 2),
    "portal": ([on(RECORD, "status", **PORTAL)], 2),
    "half_a_portal": ([on(RECORD, "status", probability=0.5, **PORTAL)], 1),
    "no_answer": ([on(RECORD, "drop")], 2),
    "half_an_answer": ([on(RECORD, "cut", bytes=20)], 2),
}


def found(name):
    """On a slow machine that is before the first checkpoint."""
    rules, evidence = FOUND[name]
    run = Run(rules, [*CALM, "zero", 1, "every", 1])
    assert run.run() == 0, (name, run.errors)
    signal_ms, active_ms = rolled_back(run, name, [], evidence)
    print(f"{name}: {signal_ms - fired(run)[0]} ms from the first sign to the"
          f" incident, {active_ms - signal_ms} ms more to the new model",
          flush=True)
    run.end()


def ignored(name):
    rules, least = IGNORED[name]
    run = Run(rules, CALM)
    assert run.run() == 0, (name, run.errors)
    count = len(fired(run))
    assert count >= least, (name, count)
    assert not noted(run, SIGNAL) and not run.said("incident"), (name,
                                                                 run.errors)
    assert run.committed() == undisturbed([]), (name, run.errors)
    print(f"{name}: {count} times, no incident", flush=True)
    run.end()


def detection(settings, steps):
    """After so many steps, from the moment at which the service begins to show
    it, between two looks: it is started again with a plan that says so."""
    run = Run((), settings)
    process = run.start()
    for _ in range(steps):
        assert process.stdout.readline().startswith("step ")
    assert run.service.stop() == 0
    run.service.add_plan([on(RECORD, "show_corrupted", times=2)])
    run.service.start()
    begun = time.time() * 1000
    assert run.finish(process) == 0, run.errors
    signal_ms, active_ms = rolled_back(
        run, "detection", settings, "shows the model as corrupted")
    print(f"detection {settings}: shown, {signal_ms - begun:.0f} ms to the"
          f" incident, {active_ms - begun:.0f} ms to the new model", flush=True)
    run.end()


def while_training():
    detection(["steps", 20, "pause", 200, "watch", 1000], 6)


def default():
    detection(["steps", 80, "pause", 300, "watch", 10000], 10)


def outlives_the_process():
    """What the monitor has noted holds for the next process, which looks at
    nothing itself. On a slow machine the first one acts on it, too."""
    run = Run([on(RECORD, "show_corrupted", after=1, times=2)],
              ["watch", 300, "pause", 2000, "zero", 1])
    process = run.start()
    end = time.monotonic() + locald.GUARD_S
    assert process.stdout.readline().startswith("step 1")
    while not noted(run, SIGNAL):
        assert time.monotonic() < end
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    run.finish(process)
    assert run.run("pause", 0, "watch", 0) == 0, run.errors
    assert len(noted(run, SIGNAL)) == 1
    assert len(noted(run, EPOCH_ACTIVE)) == 2, run.errors
    assert run.committed() == undisturbed([]), run.errors
    run.end()


def write_sighting(run, corrupted):
    """As a daemon leaves it that has read the list now."""
    folder = f"{run.folder}/runs/numbers"
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as f:
        boot = f.read().strip()
    facts = json.loads(noted(run, EPOCH_ACTIVE)[0][1])
    asked = time.clock_gettime(time.CLOCK_BOOTTIME) * 1000
    with open(folder + "/made", "w", encoding="utf-8") as f:
        json.dump({"boot": boot, "asked_ms": int(asked),
                   "model": facts["model"], "corrupted": corrupted}, f)
    os.rename(folder + "/made", folder + "/sighting")


def sighted(name, rules, times):
    """The record would be read again in an hour. times: that a daemon has seen
    it as corrupted, one list after the other."""
    run = Run(rules, ["watch", 3600000, "pause", 400])
    process = run.start()
    assert process.stdout.readline().startswith("step 1")
    for count in range(times):
        if process.poll() is not None or noted(run, SIGNAL):
            break
        write_sighting(run, True)
        time.sleep(0.3)
    assert run.finish(process) == 0, run.errors
    if rules:
        rolled_back(run, name, [], "shows the model as corrupted")
    else:
        assert not noted(run, SIGNAL), run.errors
        assert run.committed() == undisturbed([]), run.errors
    run.end()


def seen_by_a_daemon():
    """What the list shows is asked for at once, and found."""
    sighted("seen_by_a_daemon",
            [on(RECORD, "show_corrupted", after=1, times=1)], 1000)


def seen_by_a_daemon_alone():
    """Once, and the record says nothing of it."""
    sighted("seen_by_a_daemon_alone", (), 1)


def calls_that_fail():
    """The record is read at once, and one bad reading is enough then; or the
    next call that fails is there first. What is read of the new model later is
    good: on a slow machine that is looked at twice."""
    run = Run([on(RECORD, "show_corrupted", after=1, times=1),
               {"endpoint": "forward_backward", "nth": 10, "act": "forget"}],
              ["watch", 3600000, "pause", 400, "attempts", 100])
    assert run.run() == 0, run.errors
    if "go back to a checkpoint" in run.said("incident")[0]["facts"]["cause"]:
        assert run.committed() == undisturbed([]), run.errors
    else:
        rolled_back(run, "calls_that_fail", [], "shows the model as corrupted")
    run.end()


def stuck():
    """F15, F41: a result that never comes, and nothing that holds it up: the
    loop that waits for it gets an error. A slow machine may make more of
    them."""
    for endpoint, nth, ahead in (("optim_step", 7, 4), ("save_weights", 2, 1)):
        run = Run([on(endpoint, "pause", nth=nth, ms=10 ** 8, state="active")],
                  ["watch", 0, "soft", 500, "hard", 1000, "attempts", 100,
                   "zero", 1, "ahead", ahead])
        assert run.run() == 0, run.errors
        cause = run.said("incident")[0]["facts"]["cause"]
        assert "a result has not come for too long" in cause, run.errors
        assert run.committed() == undisturbed([]), run.errors
        run.end()


def switched_off():
    run = Run([on(RECORD, "show_corrupted")], ["watch", 0, "pause", 100])
    assert run.run() == 0, run.errors
    assert not fired(run) and not run.said("incident"), run.errors
    run.end()


def refuses():
    run = Run()
    for value in (-1, 3600001):
        assert run.run("watch", value) == 1
        assert f"options.watch_ms is {value}: allowed are" in run.errors
    run.end()


def cases():
    for table, check in ((FOUND, found), (IGNORED, ignored)):
        for name in table:
            yield name, lambda name=name, check=check: check(name)
    for check in (while_training, outlives_the_process, seen_by_a_daemon,
                  seen_by_a_daemon_alone, calls_that_fail, stuck, switched_off,
                  refuses):
        yield check.__name__, check


def main():
    """Several at a time: most of it is waiting."""
    names = sys.argv[4:]
    if "default" in names:
        default()
    undisturbed([])
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(check) for name, check in cases()
                     if not names or name in names]:
            done.result()


if __name__ == "__main__":
    main()
