"""Repeats trace d in float64: what it would be without any rounding.

usage: make_exact.py [FOLDER]    (PyPI: as in requirements-long.txt of
                                  tests/interop; FOLDER: d/exact unless named)

Writes FOLDER/adapter_model.safetensors, the adapter after the last step, and
FOLDER/norms.json, the norm of each step's gradient. Prints how far the other
server's trace is from that, for a and b too, and how far the weights of each
move when the gradients are disturbed by as much as float32 rounds.
"""
import json
import pathlib
import sys

import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
import make_losses  # noqa: E402  (widens the models' code)

TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj",
           "down_proj"]


def tensor(values):
    return torch.tensor(values, dtype=torch.float32).double()


def first_state(name):
    model = AutoModelForCausalLM.from_pretrained(
        HERE / "model", dtype=torch.float32, attn_implementation="eager")
    peft = get_peft_model(model, LoraConfig(
        r=4, lora_alpha=32, target_modules=TARGETS, lora_dropout=0.0,
        bias="none", task_type="CAUSAL_LM")).double()
    weights = {k.replace(".default", ""): p
               for k, p in peft.named_parameters() if p.requires_grad}
    stored = load_file(HERE / name / "first" / "adapter_model.safetensors")
    with torch.no_grad():
        for key, p in weights.items():
            p.copy_(stored[key])
    return peft, weights


def token_losses(loss, d, lp):
    w = tensor(d["weights"]) if d.get("weights") else torch.ones_like(lp)
    if loss == "cross_entropy":
        return -lp * w, w
    ratio, a = (lp - tensor(d["logprobs"])).exp(), tensor(d["advantages"])
    if loss == "importance_sampling":
        return -ratio * a * w, w
    return -torch.minimum(ratio * a, ratio.clamp(0.8, 1.2) * a) * w, w


def groups(weights):
    """The A that are one there: their names, by layer."""
    for layer in range(2):
        base = f"base_model.model.model.layers.{layer}."
        for names in (["self_attn." + x for x in ("q", "k", "v")],
                      ["mlp." + x for x in ("gate", "up")]):
            yield [weights[f"{base}{n}_proj.lora_A.weight"] for n in names]


def share(weights):
    """Sums the gradients of each group; returns the norm that results."""
    extra = 0.0
    for group in groups(weights):
        total = sum(p.grad for p in group)
        for p in group:
            p.grad = total.clone()
        extra += (len(group) - 1) * float((total ** 2).sum())
    squares = sum(float((p.grad ** 2).sum()) for p in weights.values())
    return (squares - extra) ** 0.5


def run(name, noise=0.0):
    """The final weights and the norms; gradients disturbed by noise times
    the largest of their tensor."""
    trace = json.loads((HERE / name / "trace.json").read_text())
    gen = torch.Generator().manual_seed(1)
    peft, weights = first_state(name)
    optimizer = torch.optim.AdamW(
        list(weights.values()), lr=trace["learning_rate"], betas=(0.9, 0.95),
        eps=1e-12, weight_decay=0)
    norms = []
    for _ in trace["steps"]:
        optimizer.zero_grad()
        total = 0
        for d in trace["data"]:
            d = d | {k: torch.tensor(d[k]) for k in ("tokens", "targets")}
            each, w = token_losses(trace["loss"], d,
                                   make_losses.logprobs(peft, d))
            total = total + each.sum() / w.sum() / len(trace["data"])
        total.backward()
        for p in weights.values():
            r = 2 * torch.rand(p.shape, generator=gen, dtype=p.dtype) - 1
            p.grad += noise * p.grad.abs().max() * r
        norms.append(share(weights))
        optimizer.step()
    return {k: p.detach() for k, p in weights.items()}, norms, trace


def distance(a, b):
    """Of two sets of weights, by the largest of the first."""
    top = max(float(v.abs().max()) for v in a.values())
    return max(float((a[k].double() - b[k].double()).abs().max())
               for k in a) / top


def main():
    torch.set_num_threads(1)
    out = pathlib.Path(sys.argv[1]) if sys.argv[1:] else HERE / "d" / "exact"
    for name in "abd":
        weights, norms, trace = run(name)
        theirs = load_file(HERE / name / "last" / "adapter_model.safetensors")
        off = [abs(s["grad_norm"] - n) / max(1, n)
               for s, n in zip(trace["steps"], norms)]
        print(f"{name}: the trace is off by {distance(weights, theirs):.2g} "
              f"in weights, {max(off):.2g} in norms")
        for noise in (2.0 ** -24, 1e-6):
            moved, _, _ = run(name, noise)
            print(f"{name}: noise of {noise:.1g} moves the weights by "
                  f"{distance(weights, moved):.2g}")
    out.mkdir(parents=True, exist_ok=True)
    save_file({k: v.float() for k, v in weights.items()},
              out / "adapter_model.safetensors", {"format": "pt"})
    (out / "norms.json").write_text(json.dumps(norms) + "\n")


if __name__ == "__main__":
    main()
