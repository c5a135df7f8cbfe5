"""A run whose folder is lost or an older copy (F73), and what a run leaves at
the service (F10): both are told by what is attached to all that a run makes.

  recover_behind.py LOCALD MODEL PROGRAM [long] [NAME...]"""
import json
import os
import shutil
import signal
import sys

sys.path.insert(0, os.path.dirname(__file__))
from recover_faults import Run, locald, undisturbed

LONG = "long" in sys.argv[4:]
REBUILD, IGNORE = 1, 2
LINEAGE_OPEN, ATTEMPT_BEGIN, PROVED, ACTIVE = 1, 66, 71, 72
FOUND, CLEARED = 90, 91
LOST = "the service has step 8 of epoch 1"
COLD = {"endpoint": "load_weights", "act": "drop_optimizer"}


def noted(run, kind):
    folder = os.path.join(run.folder, "runs", "numbers")
    return [json.loads(fields) for _, fields, _ in
            run.rows(folder, "supervisor", kind)]


def shown(run, what):
    status, reply = run.service.call(f"{what}?limit=100")
    assert status == 200, reply
    return reply[what]


def killed_in(run, step):
    assert run.run("kill", step) == -signal.SIGKILL, run.errors


def lost():
    """Steps 1 to 9 are committed, 4 and 8 saved; the folder is gone."""
    run = Run()
    killed_in(run, 10)
    shutil.rmtree(run.folder)
    return run


def again(run, rule):
    """The service goes wrong from now on."""
    run.service.kill()
    run.service.add_plan([rule])
    run.service.start()


def refused(run, words, *settings):
    """Nothing is made, and it says what was found and what to do."""
    before = len(shown(run, "training_runs")), len(shown(run, "checkpoints"))
    run.events = []
    assert run.run(*settings) == 1, run.errors
    assert words in run.errors, run.errors
    assert not run.events, run.errors
    after = len(shown(run, "training_runs")), len(shown(run, "checkpoints"))
    assert before == after, (before, after)


def check_losses(run, least):
    want, got = undisturbed([]), run.committed()
    assert min(got) <= least and max(got) == max(want), got
    assert all(want[s] == v for s, v in got.items()), (want, got)


def stamped():
    """Session, model and checkpoints say whose they are."""
    run = Run([{"endpoint": "optim_step", "nth": 7, "act": "corrupt"}])
    assert run.run() == 0, run.errors
    nonces = {a["epoch"]: a["nonce"] for a in noted(run, ATTEMPT_BEGIN)}
    models = {m["training_run_id"]: m["user_metadata"]
              for m in shown(run, "training_runs") if m["user_metadata"]}
    assert len(models) == 2 and len(set(nonces.values())) == 2, models
    lineages = set()
    for active, start in zip(noted(run, ACTIVE), ("0", "4")):
        said = models[active["model"]]
        assert said["tinker_epoch"] == str(active["epoch"])
        assert said["tinker_from_step"] == start, said
        status, session = run.service.call("sessions/" + active["session"])
        assert status == 200, session
        for m in (said, session["user_metadata"]):
            assert m["tinker_nonce"] == nonces[active["epoch"]], m
            assert m["tinker_run"] == "numbers" and m["project"] == "demo", m
            assert len(m["tinker_plan"]) == 64, m
            lineages.add(m["tinker_lineage"])
    for c in shown(run, "checkpoints"):
        m = c["user_metadata"]
        assert c["checkpoint_id"] == "weights/L{}-e{}-s{}-{}".format(
            m["tinker_lineage"][:8], m["tinker_epoch"], m["tinker_step"],
            m["tinker_plan"][:8]), c
        assert m["tinker_nonce"] == nonces[int(m["tinker_epoch"])], m
        assert m["project"] == "demo", m
        lineages.add(m["tinker_lineage"])
    assert len(lineages) == 1, lineages
    run.end()


def folder_lost():
    """Refused, then rebuilt: the steps after the checkpoint are done again,
    and the record says what was shown of it."""
    run = lost()
    refused(run, LOST)
    refused(run, LOST)
    assert not noted(run, ATTEMPT_BEGIN)
    killed_in_rebuilt = run.run("behind", REBUILD, "kill", 9)
    assert killed_in_rebuilt == -signal.SIGKILL, run.errors
    assert "cursor of step 9 lost: 0 bytes" in run.out, run.out
    assert "rolled back to 9" in run.out, run.out
    proved, = noted(run, PROVED)
    assert proved["level"] == 2 and "no V3" in proved["evidence"], proved
    assert "V4" in proved["evidence"] and "-e1-s8-" in proved["name"], proved
    # From then on it is a run as any other, whatever the option says.
    assert run.run() == 0, run.errors
    assert "cursor of step 9 lost" in run.out, run.out
    assert "cursor of step 10 lost" not in run.out, run.out
    check_losses(run, 9)
    assert noted(run, ACTIVE)[0]["epoch"] == 2
    run.end()


def back_to_the_rebuilt():
    """The checkpoint that it was rebuilt from is one as any other: a model that
    is lost before the next goes back to it."""
    run = lost()
    again(run, {"endpoint": "optim_step", "nth": 5, "act": "corrupt"})
    assert run.run("behind", REBUILD) == 0, run.errors
    check_losses(run, 9)
    rollback, = run.said("rollback")
    assert rollback["facts"]["to_step"] == 8, rollback
    assert run.out.count("cursor of step 9 lost") == 2, run.out
    run.end()


def folder_ignored():
    """Begun anew by permission, in an epoch after those that are there."""
    run = lost()
    assert run.run("behind", IGNORE, "kill", 6) == -signal.SIGKILL, run.errors
    opened, = noted(run, LINEAGE_OPEN)
    assert opened["disowned"] == 1 and LOST in opened["evidence"], opened
    assert run.run() == 0, run.errors
    check_losses(run, 1)
    assert [a["epoch"] for a in noted(run, ACTIVE)] == [2]
    # A folder that is lost again is rebuilt from the new branch.
    shutil.rmtree(run.folder)
    refused(run, "step 12 of epoch 2")
    run.end()


def older_copy():
    """A backup from before the last checkpoint would train the model with
    numbers that were used."""
    for behind, least in [(REBUILD, 8), (IGNORE, 4)][:1 + LONG]:
        run = Run()
        killed_in(run, 6)
        shutil.copytree(run.folder, run.folder + ".old")
        killed_in(run, 10)
        shutil.rmtree(run.folder)
        os.rename(run.folder + ".old", run.folder)
        refused(run, LOST)
        assert run.run("behind", behind) == 0, run.errors
        assert noted(run, ACTIVE)[-1]["from_step"] == least
        check_losses(run, 1)
        run.end()


def older_epoch():
    """A backup from before a rollback: its model is over."""
    run = Run([{"endpoint": "optim_step", "nth": 7, "act": "corrupt"}])
    killed_in(run, 6)
    shutil.copytree(run.folder, run.folder + ".old")
    killed_in(run, 8)
    assert noted(run, ACTIVE)[-1]["epoch"] == 2
    shutil.rmtree(run.folder)
    os.rename(run.folder + ".old", run.folder)
    refused(run, "the service has epoch 2 (model ")
    assert run.run("behind", REBUILD) == 0, run.errors
    assert noted(run, ACTIVE)[-1]["epoch"] == 3
    check_losses(run, 1)
    run.end()


def another_folder():
    """Two folders can't train one run."""
    run = Run()
    killed_in(run, 6)
    first, run.folder = run.folder, run.folder + "2"
    refused(run, "step 4 of epoch 1")
    run.folder = first
    assert run.run() == 0, run.errors
    check_losses(run, 1)
    run.end()


def cold_checkpoint():
    """The newest one comes back without its optimizer: the one before it."""
    run = lost()
    again(run, {**COLD, "times": 4})
    assert run.run("behind", REBUILD) == 0, run.errors
    said, = run.said("checkpoint_refused")
    assert "-s8-" in said["facts"]["name"], said
    assert noted(run, ACTIVE)[-1]["from_step"] == 4
    check_losses(run, 5)
    run.end()


def cold_checkpoints():
    """None is left."""
    run = lost()
    again(run, COLD)
    assert run.run("behind", REBUILD) == 1, run.errors
    assert "run numbers can't be rebuilt" in run.errors, run.errors
    assert len(run.said("checkpoint_refused")) == 2, run.errors
    assert not noted(run, ACTIVE)
    run.end()


def other_plan():
    """Which field differs stood in the journal."""
    run = lost()
    refused(run, "was saved under another plan", "behind", REBUILD, "steps", 11)
    assert run.run("behind", REBUILD, "steps", 11, "allow", 127) == 0, run.errors
    run.end()


def killed_while_rebuilding():
    """Right before EPOCH_ACTIVE nothing counts, and it begins again."""
    run = lost()
    again(run, {"endpoint": "create_session", "nth": 2, "act": "status",
                "status": 403})
    assert run.run("behind", REBUILD) == 1, run.errors
    assert not noted(run, ACTIVE) and noted(run, ATTEMPT_BEGIN), run.errors
    refused(run, LOST)
    assert run.run("behind", REBUILD) == 0, run.errors
    assert noted(run, ACTIVE)[0]["epoch"] == 3
    check_losses(run, 9)
    run.end()


def orphans():
    """A model that was made and never became the run's is found by its nonce,
    and its session is finished."""
    run = Run([{"endpoint": "create_model", "nth": 1, "act": "lose_reply"}])
    killed_in(run, 3)
    found, = noted(run, FOUND)
    cleared, = noted(run, CLEARED)
    first = noted(run, ATTEMPT_BEGIN)[0]
    assert found["model"] == cleared["model"] != noted(run, ACTIVE)[0]["model"]
    assert found["nonce"] == first["nonce"] and found["epoch"] == 1, found
    status, _ = run.service.call("session_heartbeat", {
        "session_id": found["session"], "type": "session_heartbeat"})
    assert status == 410, status
    # It is known from now on.
    assert run.run() == 0, run.errors
    assert len(noted(run, FOUND)) == len(noted(run, CLEARED)) == 1
    check_losses(run, 1)
    run.end()


def no_lists():
    """A service that can't be asked is trained on, as far as a journal
    goes."""
    run = Run([{"endpoint": "training_runs", "probability": 1, "act": "status",
                "status": 400}])
    killed_in(run, 6)
    assert run.run() == 0, run.errors
    assert len(run.said("unchecked")) == 2, run.errors
    check_losses(run, 1)
    run.end()


def given_back():
    """A run that is released ends the question that it waits for."""
    run = Run([{"endpoint": "checkpoints", "act": "hang"}])
    assert run.run("leave", 300) == 0, run.errors
    assert run.out == "left: TINKER_EAGAIN, TINKER_ECLOSED\n", run.out
    run.end()


DEFAULT = [stamped, folder_lost, folder_ignored, older_copy, older_epoch,
           cold_checkpoint, other_plan, orphans, no_lists,
           given_back]
MORE = [back_to_the_rebuilt, another_folder, cold_checkpoints,
        killed_while_rebuilding]


def main():
    names = [n for n in sys.argv[4:] if n != "long"]
    for one in DEFAULT + MORE:
        if one.__name__ in names or not names and (LONG or one in DEFAULT):
            one()
            print(one.__name__, flush=True)


if __name__ == "__main__":
    main()
