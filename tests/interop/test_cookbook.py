"""Two recipes of tinker-cookbook, unmodified, against tinker-locald over TCP.

usage: test_cookbook.py LOCALD TEXT_MODEL     (PyPI: as in
                                               requirements-long.txt)

recipes/sl_loop.py teaches the demo's model to answer with a boxed number;
recipes/rl_loop.py (importance_sampling) starts from its checkpoint and is paid
for one of the two numbers. Model, tokenizer and data are folders whose paths,
from the folder the recipes run in, are the names that the recipes know.
"""
import json
import os
import pathlib
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
import locald

NAME = "Qwen/Qwen3-8B-Base"  # one with the plainest of the renderers
ASK = " Provide a numerical answer without units, written inside \\boxed{}."
SL_STEPS, RL_STEPS = 20, 4


def write_rows(path, rows):
    path.parent.mkdir(parents=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def write_data(folder):
    questions = [f"How many sheep has he, if he had {i % 7 + 1} and bought "
                 f"{i % 5 + 1}?" for i in range(160)]
    write_rows(folder / "HuggingFaceH4/no_robots/train.jsonl", [
        {"messages": [
            {"role": "user", "content": q + ASK},
            {"role": "assistant", "content": "\\boxed{%d}" % (3 + i % 2)}]}
        for i, q in enumerate(questions)])
    gsm8k = folder / "openai/gsm8k"
    write_rows(gsm8k / "train.jsonl", [
        {"question": q, "answer": "It is so.\n#### 3"}
        for q in questions[:64]])
    (gsm8k / "README.md").write_text(
        "---\nconfigs:\n- config_name: main\n  data_files: train.jsonl\n---\n")


def run(folder, url, recipe, log, **options):
    """Returns the metrics of the steps and all that was printed."""
    env = {**os.environ, "TINKER_BASE_URL": url,
           "TINKER_API_KEY": "tml-dummy", "TINKER_TELEMETRY": "0",
           "HF_HUB_OFFLINE": "1", "HF_HOME": str(folder / "cache"),
           "HOME": str(folder)}
    done = subprocess.run(
        [sys.executable, "-m", "tinker_cookbook.recipes." + recipe,
         f"model_name={NAME}", f"log_path={log}",
         *(f"{k}={v}" for k, v in options.items())],
        cwd=folder, env=env, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, check=False)
    assert done.returncode == 0, done.stdout[-5000:]
    lines = (log / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines], done.stdout


def checkpoints(log):
    return [json.loads(line)
            for line in (log / "checkpoints.jsonl").read_text().splitlines()]


def supervised(folder, url):
    log = folder / "sl"
    metrics, _ = run(folder, url, "sl_loop", log, batch_size=8,
                     learning_rate=3e-3, lora_rank=16, save_every=10,
                     max_steps=SL_STEPS)
    nll = [m["train_mean_nll"] for m in metrics]
    print("sl_loop: mean nll", " ".join(f"{x:.2f}" for x in nll))
    assert len(nll) == SL_STEPS
    assert nll[-1] < nll[0] / 10
    names = [c["name"] for c in checkpoints(log)]
    assert names == ["000010", "final"], names
    return checkpoints(log)[-1]


def reinforced(folder, url, start):
    log = folder / "rl"
    log.mkdir()
    (log / "checkpoints.jsonl").write_text(
        json.dumps({**start, "batch": 0}) + "\n")
    metrics, text = run(folder, url, "rl_loop", log, batch_size=4,
                        group_size=8, learning_rate=1e-3, max_tokens=24,
                        save_every=2, max_steps=RL_STEPS)
    rewards = [m["reward/total"] for m in metrics]
    print("rl_loop: reward", " ".join(f"{x:.2f}" for x in rewards))
    assert len(rewards) == RL_STEPS
    assert "Resuming from batch 0" in text
    # Random draws: a step or two may have nothing to learn from.
    trained = RL_STEPS - text.count("all advantages zero")
    assert trained > 0 and max(rewards) > 0
    names = [c["name"] for c in checkpoints(log)]
    assert names == [start["name"], "000002", "final"], names
    print(f"rl_loop: {trained} of {RL_STEPS} steps trained")


def main():
    program, model = (os.path.abspath(a) for a in sys.argv[1:3])
    service = locald.Service(program, model, [
        "--listen", "127.0.0.1:0", "--model", f"{NAME}={model}"])
    url = service.start()["http"]
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        (folder / NAME).parent.mkdir()
        (folder / NAME).symlink_to(model)
        write_data(folder)
        reinforced(folder, url, supervised(folder, url))
    assert service.stop() == 0


if __name__ == "__main__":
    main()
