"""PEFT folders both ways, against peft and transformers.

usage: test_peft.py ADAPTER_CLI     (PyPI: as in requirements-long.txt)

For the models of tests/golden/models: adapters that the engine writes are
loaded by peft, those that peft writes by the engine; every rank, every set of
trained parts. Log-probabilities agree within 1e-5.
"""
import json
import pathlib
import subprocess
import sys
import tempfile
import warnings

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

MODELS = pathlib.Path(__file__).parent.parent / "golden" / "models"
RANKS = [1 << i for i in range(8)]
PARTS = {1: ["q_proj", "k_proj", "v_proj", "o_proj"],
         2: ["gate_proj", "up_proj", "down_proj"], 4: ["lm_head"]}
TOLERANCE = 1e-5


class Engine:
    """adapter_cli on one model."""

    def __init__(self, cli, model):
        self.process = subprocess.Popen(
            [cli, model], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            text=True)

    def ask(self, *words):
        self.process.stdin.write(" ".join(map(str, words)) + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def logprobs(self, *words):
        answer = self.ask(*words)
        assert not answer.startswith("error"), answer
        return torch.tensor([float(x) for x in answer.split()])

    def close(self):
        self.process.stdin.close()
        assert self.process.wait() == 0


def load(model):
    return AutoModelForCausalLM.from_pretrained(
        model, dtype=torch.float32, attn_implementation="eager")


@torch.no_grad()
def logprobs(model):
    """Of the tokens of adapter_cli.c."""
    vocab = model.config.vocab_size
    tokens = [(7 * i * i + 3 * i + 5) % vocab for i in range(24)]
    targets = torch.tensor([(11 * i + 2) % vocab for i in range(24)])
    logits = model(torch.tensor([tokens])).logits[0].float()
    return logits.log_softmax(-1).gather(1, targets[:, None])[:, 0]


def modules(parts):
    return [m for bit, names in PARTS.items() if parts & bit for m in names]


def check_same(what, a, b):
    off = float(((a - b).abs() / b.abs().clamp(min=1)).max())
    assert off <= TOLERANCE, (what, off)
    return off


def ours_there(engine, model, base, rank, parts, folder):
    mine = engine.logprobs("write", rank, parts, folder)
    config = json.loads((folder / "adapter_config.json").read_text())
    assert (config["r"], config["lora_alpha"]) == (rank, 32), config
    peft = PeftModel.from_pretrained(load(model), folder)
    theirs = logprobs(peft)
    assert float((theirs - base).abs().max()) > 1e-3, "the adapter must count"
    return check_same(("ours", model.name, rank, parts), mine, theirs)


def made_there(model, rank, parts):
    peft = get_peft_model(load(model), LoraConfig(
        r=rank, lora_alpha=24, target_modules=modules(parts),
        task_type="CAUSAL_LM"))
    with torch.no_grad():
        for name, p in peft.named_parameters():
            if "lora_B" in name:
                p.normal_(0, 0.1 / rank ** 0.5)
    return peft


def theirs_here(engine, model, base, rank, parts, folder):
    peft = made_there(model, rank, parts)
    peft.save_pretrained(folder, save_embedding_layers=False)
    theirs = logprobs(peft)
    assert float((theirs - base).abs().max()) > 1e-3, "the adapter must count"
    return check_same(("theirs", model.name, rank, parts),
                      engine.logprobs("read", folder), theirs)


def refused(engine, model, folder):
    """What has no place: embeddings that peft saves along unless told not
    to, a tensor more, one less."""
    made_there(model, 4, 7).save_pretrained(folder,
                                            save_embedding_layers=True)
    path = folder / "adapter_model.safetensors"
    tensors = load_file(path)
    more = {k for k in tensors if "lora" not in k}
    assert more, tensors.keys()
    answer = engine.ask("read", folder)
    assert answer.startswith("error") and any(k in answer for k in more), \
        answer
    tensors = {k: v for k, v in tensors.items() if k not in more}
    save_file(tensors, path, {"format": "pt"})
    engine.logprobs("read", folder)
    first = min(tensors)
    save_file({k: v for k, v in tensors.items() if k != first}, path)
    answer = engine.ask("read", folder)
    assert answer.startswith("error") and first in answer, answer


def check_model(cli, model, cases):
    engine = Engine(cli, model)
    base = logprobs(load(model))
    worst = [0.0, 0.0]
    for rank, parts in cases:
        for i, check in enumerate((ours_there, theirs_here)):
            with tempfile.TemporaryDirectory() as folder:
                worst[i] = max(worst[i], check(
                    engine, model, base, rank, parts, pathlib.Path(folder)))
    with tempfile.TemporaryDirectory() as folder:
        refused(engine, model, pathlib.Path(folder))
    engine.close()
    print(f"{model.name}: {2 * len(cases)} folders, ours there {worst[0]:.2g},"
          f" theirs here {worst[1]:.2g}")


def main():
    warnings.simplefilter("ignore")
    torch.manual_seed(1)
    everything = [(rank, parts) for rank in RANKS for parts in range(1, 8)]
    diagonal = [(rank, i % 7 + 1) for i, rank in enumerate(RANKS)]
    for model in sorted(MODELS.iterdir()):
        check_model(sys.argv[1], model,
                    everything if model.name == "qwen3_tied" else diagonal)


if __name__ == "__main__":
    main()
