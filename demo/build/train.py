"""Train the demo's base model on the CPU and write its folder.

usage: train.py TEXT_DIR MODEL_DIR [--steps N] [--threads N]

Deterministic for one machine, one torch version and one thread count: every
random choice comes from the seed. MODEL_DIR must hold tokenizer.json. The
hidden matrices learn by Muon (orthogonalised momentum), which needs about half
the steps of AdamW at this size; embedding and norms learn by AdamW.
"""
import argparse
import json
import math
import pathlib
import time

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from tokenizers import Tokenizer

from qwen3 import CONFIG, Qwen3

SEED, BATCH, LENGTH = 20240601, 4, 512
MUON_RATE, ADAM_RATE, WARMUP, DECAY_SHARE = 0.02, 0.004, 20, 0.4


def tokens(tok, path):
    docs = path.read_text().split("\n\f\n")
    ids = []
    for e in tok.encode_batch(docs):
        ids += e.ids + [CONFIG["eos_token_id"]]
    return torch.tensor(ids), sum(len(d.encode()) for d in docs)


def batches(ids, steps):
    """Windows of LENGTH + 1 ids: each pass shifts the cut and reshuffles."""
    gen = torch.Generator().manual_seed(SEED)
    pending = []
    for _ in range(steps):
        while len(pending) < BATCH:
            shift = int(torch.randint(LENGTH, (1,), generator=gen))
            starts = torch.arange(shift, len(ids) - LENGTH - 1, LENGTH)
            pending += starts[torch.randperm(len(starts),
                                             generator=gen)].tolist()
        rows = [ids[s:s + LENGTH + 1] for s in pending[:BATCH]]
        del pending[:BATCH]
        yield torch.stack(rows)


def orthogonal(g):
    """Newton-Schulz iteration towards the nearest orthogonal matrix."""
    flip = g.shape[0] > g.shape[1]
    x = g.T if flip else g
    x = x / (x.norm() + 1e-7)
    for _ in range(5):
        a = x @ x.T
        x = 3.4445 * x + (-4.7750 * a + 2.0315 * (a @ a)) @ x
    return x.T if flip else x


class Muon:
    def __init__(self, params):
        self.params = [(p, torch.zeros_like(p)) for p in params]

    @torch.no_grad()
    def step(self, rate):
        for p, m in self.params:
            m.lerp_(p.grad, 0.05)
            u = orthogonal(p.grad.lerp(m, 0.95))
            p.mul_(1 - rate * 0.02)
            p.add_(u, alpha=-rate * max(1, p.shape[0] / p.shape[1]) ** 0.5)
            p.grad = None


@torch.no_grad()
def heldout(model, ids, size):
    """Mean nats per token, and bits per byte, over whole windows."""
    total, count = 0.0, 0
    for s in range(0, len(ids) - 1, LENGTH):
        row = ids[s:s + LENGTH + 1]
        out = model(row[None, :-1])[0]
        total += float(F.cross_entropy(out, row[1:], reduction="sum"))
        count += len(row) - 1
    return total / count, total / math.log(2) / size


@torch.no_grad()
def sample(model, tok, prompt, n=80, temperature=0.7):
    gen = torch.Generator().manual_seed(SEED)
    ids = tok.encode(prompt).ids
    for _ in range(n):
        p = (model(torch.tensor([ids]))[0, -1] / temperature).softmax(-1)
        ids.append(int(torch.multinomial(p, 1, generator=gen)))
    return tok.decode(ids)


def write(model, folder):
    state = {k: v.detach().to(torch.bfloat16).contiguous()
             for k, v in sorted(model.state_dict().items())}
    save_file(state, folder / "model.safetensors", {"format": "pt"})
    (folder / "config.json").write_text(json.dumps(CONFIG, indent=2) + "\n")
    (folder / "generation_config.json").write_text(json.dumps(
        {"eos_token_id": CONFIG["eos_token_id"]}, indent=2) + "\n")


def rounded(model):
    """The model as it will be read back: bf16 weights, float32 arithmetic."""
    copy = Qwen3(CONFIG)
    copy.load_state_dict({k: v.to(torch.bfloat16).float()
                          for k, v in model.state_dict().items()})
    return copy


def rate_at(step, steps):
    left = (steps - step) / (steps * DECAY_SHARE)
    return min(1.0, (step + 1) / WARMUP, left)


def main():
    arg = argparse.ArgumentParser()
    arg.add_argument("text", type=pathlib.Path)
    arg.add_argument("out", type=pathlib.Path)
    arg.add_argument("--steps", type=int, default=1500)
    arg.add_argument("--threads", type=int, default=2)
    opt = arg.parse_args()
    torch.set_num_threads(opt.threads)
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(SEED)
    tok = Tokenizer.from_file(str(opt.out / "tokenizer.json"))
    train, _ = tokens(tok, opt.text / "base.train.txt")
    held, size = tokens(tok, opt.text / "base.heldout.txt")
    model = Qwen3(CONFIG)
    named = list(model.named_parameters())
    print(f"train: {sum(p.numel() for _, p in named)} parameters,"
          f" {len(train)} + {len(held)} tokens", flush=True)
    muon = Muon([p for n, p in named if p.dim() == 2 and "embed" not in n])
    adam = torch.optim.AdamW(
        [p for n, p in named if p.dim() != 2 or "embed" in n],
        betas=(0.9, 0.95), weight_decay=0.0)
    begin, mean = time.monotonic(), 0.0
    for step, rows in enumerate(batches(train, opt.steps)):
        out = model(rows[:, :-1])
        loss = F.cross_entropy(out.flatten(0, 1), rows[:, 1:].flatten())
        loss.backward()
        scale = rate_at(step, opt.steps)
        muon.step(MUON_RATE * scale)
        adam.param_groups[0]["lr"] = ADAM_RATE * scale
        adam.step()
        adam.zero_grad()
        mean += (float(loss) - mean) * max(0.05, 1 / (step + 1))
        if step % 20 == 0:
            print(f"step {step} loss {mean:.3f}"
                  f" {time.monotonic() - begin:.0f} s", flush=True)
        if step % 200 == 199:
            write(model, opt.out)
    write(model, opt.out)
    final = rounded(model)
    nats, bits = heldout(final, held, size)
    print(f"held-out: {nats:.4f} nats/token, {bits:.4f} bits/byte")
    for prompt in ("And it came to pass", "And the LORD said unto",
                   "Blessed are the"):
        print("---\n" + sample(final, tok, prompt))


if __name__ == "__main__":
    main()
