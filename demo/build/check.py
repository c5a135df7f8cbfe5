"""Read the finished folder with transformers; report, and write golden numbers.

usage: check.py TEXT_DIR MODEL_DIR GOLDEN_JSON

An independent reader: it shares no code with train.py, so a folder that other
programs would misread is noticed here. GOLDEN_JSON receives 64 token ids of
held-out text, what follows each, and its log-probability, computed in float32
from the bf16 weights. The test of the C engine reads it.
"""
import json
import math
import pathlib
import sys

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

WINDOW, GOLDEN_TOKENS = 512, 64


@torch.no_grad()
def logprobs(model, ids):
    """Log-probability of ids[1:], each given what is before it."""
    out = model(torch.tensor([ids[:-1]])).logits[0].float().log_softmax(-1)
    return out.gather(1, torch.tensor(ids[1:])[:, None])[:, 0]


def heldout(model, tok, path):
    docs = path.read_text().split("\n\f\n")
    ids = [i for d in docs for i in tok(d)["input_ids"] + [tok.eos_token_id]]
    total = 0.0
    for s in range(0, len(ids) - 1, WINDOW):
        total -= float(logprobs(model, ids[s:s + WINDOW + 1]).sum())
    size = sum(len(d.encode()) for d in docs)
    return total / (len(ids) - 1), total / math.log(2) / size


def main():
    text, folder, golden = map(pathlib.Path, sys.argv[1:4])
    torch.set_num_threads(2)
    tok = AutoTokenizer.from_pretrained(folder)
    for dtype in (torch.bfloat16, torch.float32):
        model = AutoModelForCausalLM.from_pretrained(
            folder, torch_dtype=dtype, attn_implementation="eager")
        nats, bits = heldout(model, tok, text / "base.heldout.txt")
        print(f"check: arithmetic {str(dtype)[6:]}: held-out"
              f" {nats:.4f} nats/token, {bits:.4f} bits/byte")
    ids = tok((text / "base.heldout.txt").read_text()[:2000])["input_ids"]
    ids = ids[:GOLDEN_TOKENS + 1]
    golden.parent.mkdir(parents=True, exist_ok=True)
    golden.write_text(json.dumps({"data": [{
        "tokens": ids[:-1], "targets": ids[1:],
        "weights": [1] * GOLDEN_TOKENS,
        "base_logprobs": [round(x, 7) for x in logprobs(model, ids).tolist()],
    }]}) + "\n")
    for prompt in ("And it came to pass", "And Moses said unto the people,"):
        torch.manual_seed(1)
        batch = tok(prompt, return_tensors="pt")
        out = model.generate(
            input_ids=batch["input_ids"], max_new_tokens=60, do_sample=True,
            temperature=0.7, pad_token_id=tok.pad_token_id)
        print("---\n" + tok.decode(out[0]))


if __name__ == "__main__":
    main()
