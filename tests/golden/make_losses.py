"""Write what PyTorch gets for every loss, and for ten optimizer steps, on
each of the tiny models.

usage: make_losses.py [FOLDER]     (PyPI: torch, transformers, peft,
                        safetensors; see README.md; after make_models.py)

FOLDER/MODEL/ (tests/golden/losses unless named) is models/MODEL with its
adapter:
  LOSS/logprobs.json       inputs, log-probability and loss of each token
  LOSS/grads.safetensors   d(sum of the losses)/d(every A and B)
  adamw/steps.json         options, and of each step the gradient's norm
  adamw/logprobs.json      inputs, and log-probabilities after the last step
  adamw/last.safetensors   every A and B after the last step
Computed in float64 from the weights as stored, by autograd from the formulas
below; .detach() stands where a formula takes something as a constant.
"""
import json
import pathlib
import shutil
import sys

import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM
from transformers.models.llama import modeling_llama
from transformers.models.qwen2 import modeling_qwen2
from transformers.models.qwen3 import modeling_qwen3

import make_models

OUT = make_models.HERE.parent / "losses"


class Wide:
    """torch for the models' code, which widens to float32 in places: here
    that must not make it narrower."""
    float32 = torch.float64

    def __getattr__(self, name):
        return getattr(torch, name)


for module in (modeling_llama, modeling_qwen2, modeling_qwen3):
    module.torch = Wide()


def clipped(ratio, d, low, high):
    return -torch.minimum(ratio * d["advantages"],
                          ratio.clamp(low, high) * d["advantages"])


def ratio(lp, d):
    return (lp - d["logprobs"]).exp()


def cross_entropy(lp, d):
    return -lp * d["weights"]


def importance_sampling(lp, d):
    return -ratio(lp, d) * d["advantages"]


def ppo(lp, d, low, high):
    return clipped(ratio(lp, d), d, low, high)


def cispo(lp, d, low, high):
    return -ratio(lp, d).clamp(low, high).detach() * lp * d["advantages"]


def dro(lp, d, beta):
    return -(lp * d["advantages"] - beta / 2 * (lp - d["logprobs"]) ** 2)


def gspo(lp, d, low, high):
    mask = d["sequence_ratio_mask"] != 0
    mean = (lp.detach() - d["logprobs"])[mask].mean()
    return clipped((mean + lp - lp.detach()).exp(), d, low, high)


# loss: its options; the test has the same.
LOSSES = {
    cross_entropy: {}, importance_sampling: {},
    ppo: dict(low=0.8, high=1.2), cispo: dict(low=0.7, high=1.4),
    dro: dict(beta=0.3), gspo: dict(low=0.9, high=1.1)}


def model_with_adapter(folder):
    model = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager")
    peft = make_models.adapter_of(model)
    stored = load_file(folder / "adapter" / "adapter_model.safetensors")
    with torch.no_grad():
        for name, p in peft.named_parameters():
            if "lora_" in name:
                p.copy_(stored[name.replace(".default", "")])
    return peft.double()


def logprobs(model, d):
    logits = model(d["tokens"][None]).logits[0]
    assert logits.dtype == torch.float64
    return logits.log_softmax(-1).gather(1, d["targets"][:, None])[:, 0]


def float32(values):
    """Rounded to what the JSON holds, then to what a reader makes of it."""
    short = torch.tensor([round(float(x), 6) for x in values])
    return short.to(torch.float32).double()


def inputs(folder, model):
    """The model's data, with policies that lie off by some noise: the first
    sequence far enough that its ratio is clipped, the second not."""
    gen = torch.Generator().manual_seed(1)
    out = []
    for i, given in enumerate(json.loads(
            (folder / "logprobs.json").read_text())["data"]):
        d = {k: torch.tensor(given[k]) for k in ("tokens", "targets")}
        d["weights"] = float32(given["weights"])
        n = len(d["tokens"])
        lp = logprobs(model, d).detach()
        d["logprobs"] = float32(
            lp + 0.3 * torch.randn(n, generator=gen) - (0.4, 0)[i])
        d["advantages"] = float32(torch.randn(n, generator=gen))
        d["advantages"][::5] = 0
        d["sequence_ratio_mask"] = torch.tensor(
            [1.0 if k >= n // 3 and k % 5 else 0.0 for k in range(n)])
        out.append(d)
    return out


def write(out, model, lps, data, more, options):
    """A file of the data with what came out, `more`, rounded far below what
    a comparison sees."""
    out.write_text(json.dumps({"options": options, "data": [
        {k: [round(x, 6) for x in v.tolist()] for k, v in d.items()} |
        {"adapter_logprobs": [round(x, 9) for x in lp.tolist()]} |
        {k: [round(x, 9) for x in v[i].tolist()] for k, v in more.items()}
        for i, (d, lp) in enumerate(zip(data, lps))]}) + "\n")


def save(path, model, of):
    save_file({k.replace(".default", ""): of(p).float().contiguous()
               for k, p in model.named_parameters() if p.requires_grad},
              path, {"format": "pt"})


def case(out, loss, options, model, data):
    out.mkdir()
    model.zero_grad()
    lps = [logprobs(model, d) for d in data]
    losses = [loss(lp, d, **options) for lp, d in zip(lps, data)]
    sum(x.sum() for x in losses).backward()
    save(out / "grads.safetensors", model, lambda p: p.grad)
    write(out / "logprobs.json", model, lps, data,
          {"elementwise_loss": losses}, options)


# The test has the same.
ADAMW = dict(learning_rate=0.001, beta1=0.9, beta2=0.95, eps=1e-8,
             weight_decay=0.1, grad_clip_norm=120.0)
STEPS = 10


def adamw(out, model, data):
    """Steps by cross_entropy; changes the model."""
    out.mkdir()
    trained = [p for p in model.parameters() if p.requires_grad]
    o = ADAMW
    optimizer = torch.optim.AdamW(
        trained, lr=o["learning_rate"], betas=(o["beta1"], o["beta2"]),
        eps=o["eps"], weight_decay=o["weight_decay"])
    norms = []
    for _ in range(STEPS):
        optimizer.zero_grad()
        sum(cross_entropy(logprobs(model, d), d).sum()
            for d in data).backward()
        norms.append(float(torch.nn.utils.clip_grad_norm_(
            trained, o["grad_clip_norm"])))
        optimizer.step()
    (out / "steps.json").write_text(json.dumps(
        {"options": o, "grad_norm": [round(x, 9) for x in norms]}) + "\n")
    write(out / "logprobs.json", model, [logprobs(model, d) for d in data],
          data, {}, o)
    save(out / "last.safetensors", model, lambda p: p.detach())
    print(out.parent.name, " ".join(f"{x:.3g}" for x in norms))


def main():
    torch.set_num_threads(1)
    out = pathlib.Path(sys.argv[1]) if sys.argv[1:] else OUT
    shutil.rmtree(out, ignore_errors=True)
    for name in make_models.CASES:
        folder = make_models.HERE / name
        model = model_with_adapter(folder)
        data = inputs(folder, model)
        (out / name).mkdir(parents=True)
        for loss, options in LOSSES.items():
            case(out / name / loss.__name__, loss, options, model, data)
        adamw(out / name / "adamw", model, data)


if __name__ == "__main__":
    main()
