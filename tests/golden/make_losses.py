"""Write what PyTorch gets for every loss on one of the tiny models.

usage: make_losses.py      (PyPI: torch, transformers, peft, safetensors; see
                            README.md; after make_models.py)

Each folder under losses/ is one loss of models/qwen3_tied with its adapter:
  logprobs.json          inputs, log-probability and loss of each token
  grads.safetensors      d(sum of the losses)/d(every A and B)
Computed in float64 from the weights as stored, by autograd from the formulas
below; .detach() stands where a formula takes something as a constant.
"""
import json
import shutil

import torch
from safetensors.torch import load_file, save_file
from transformers import Qwen3ForCausalLM

import make_models

MODEL = make_models.HERE / "qwen3_tied"
OUT = make_models.HERE.parent / "losses"


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


def model_with_adapter():
    model = Qwen3ForCausalLM.from_pretrained(
        MODEL, torch_dtype=torch.float32, attn_implementation="eager")
    peft = make_models.adapter_of(model)
    stored = load_file(MODEL / "adapter" / "adapter_model.safetensors")
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


def inputs(model):
    """The model's data, with policies that lie off by some noise: the first
    sequence far enough that its ratio is clipped, the second not."""
    gen = torch.Generator().manual_seed(1)
    out = []
    for i, given in enumerate(json.loads(
            (MODEL / "logprobs.json").read_text())["data"]):
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


def write(loss, options, model, data):
    folder = OUT / loss.__name__
    folder.mkdir(parents=True)
    model.zero_grad()
    lps = [logprobs(model, d) for d in data]
    losses = [loss(lp, d, **options) for lp, d in zip(lps, data)]
    sum(x.sum() for x in losses).backward()
    save_file({k.replace(".default", ""): p.grad.float().contiguous()
               for k, p in model.named_parameters() if p.requires_grad},
              folder / "grads.safetensors", {"format": "pt"})
    (folder / "logprobs.json").write_text(json.dumps({
        "options": options, "data": [
            {k: [round(x, 6) for x in v.tolist()] for k, v in d.items()} |
            {"adapter_logprobs": [round(x, 9) for x in lp.tolist()],
             "elementwise_loss": [round(x, 9) for x in one.tolist()]}
            for d, lp, one in zip(data, lps, losses)]}) + "\n")
    print(loss.__name__, float(sum(x.sum() for x in losses)))


def main():
    torch.set_num_threads(1)
    shutil.rmtree(OUT, ignore_errors=True)
    model = model_with_adapter()
    data = inputs(model)
    for loss, options in LOSSES.items():
        write(loss, options, model, data)


if __name__ == "__main__":
    main()
