"""Checks of the command line tool that comes with the SDK, in this process."""
import json

from click.testing import CliRunner
from tinker.cli.__main__ import main_cli

from sdk_checks import check, steps


def tool(bed, *args):
    """Exit code and output."""
    result = CliRunner().invoke(main_cli, list(args), env={
        "TINKER_BASE_URL": bed.url, "TINKER_API_KEY": "tml-local"})
    code = getattr(result.exception, "exit_code", result.exit_code)
    return code, result.output + str(result.exception or "")


def told(bed, *args):
    code, output = tool(bed, "--format", "json", *args)
    assert code == 0, (args, output)
    return json.loads(output)


@check()
def command_line(bed):
    older = bed.trainer(rank=1).model_id
    trainer = bed.trainer(user_metadata={"k": "v"})
    run = trainer.model_id
    steps(trainer, 1)
    path = trainer.save_state("kept", ttl_seconds=3600).result().path
    trainer.save_state("gone").result()
    trainer.save_weights_for_sampler("gone").result()
    newest = told(bed, "run", "list", "--limit", "1")["runs"][0]
    assert newest == told(bed, "run", "info", run)
    assert (newest["training_run_id"], newest["lora_rank"]) == (run, 4)
    assert newest["user_metadata"] == {"k": "v"}
    every = told(bed, "run", "list", "--limit", "0")["runs"]
    assert [r["training_run_id"] for r in every[:2]] == [run, older]

    def listed():
        found = told(bed, "checkpoint", "list", "--run-id", run)["checkpoints"]
        return sorted(c["checkpoint_id"] for c in found)
    assert listed() == ["sampler_weights/gone", "weights/gone", "weights/kept"]
    info = told(bed, "checkpoint", "info", path)
    assert info["tinker_path"] == path and info["lora_rank"] == 4
    assert info["expires_at"] and not info["public"]
    for change, after in (
            (("publish", path), {"public": True}),
            (("unpublish", path), {"public": False}),
            (("set-ttl", path, "--remove"), {"expires_at": None})):
        assert tool(bed, "checkpoint", *change)[0] == 0, change
        info = told(bed, "checkpoint", "info", path)
        assert {k: info[k] for k in after} == after, change
    assert tool(bed, "checkpoint", "delete", "--yes", "--run-id", run,
                "--type", "sampler_weights")[0] == 0
    gone = f"tinker://{run}/weights/gone"
    assert tool(bed, "checkpoint", "delete", "--yes", gone)[0] == 0
    assert listed() == ["weights/kept"]
    for args, words in ((("run", "info", "none"), "not found"),
                        (("checkpoint", "info", gone), "not found")):
        code, output = tool(bed, *args)
        assert code == 1 and words in output, (code, output)
