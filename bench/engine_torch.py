"""The training lines of bench_engine, by PyTorch on the CPU.

usage: bench_engine demo/model/tiny-kjv 2 >ours
       engine_torch.py demo/model/tiny-kjv 2 [ours]
(PyPI: torch, transformers, peft; nothing in this repository installs them)

Eager mode, float32, the same shapes, LoRA rank 32 on every matrix by peft, the
same loss, AdamW. Given the other's output, each line has the ratio: ours over
PyTorch's tokens/s, from the same machine with the same number of threads.
"""
import json
import sys
import time
import warnings

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

WIDE = "0.5B width, 4 layers, vocabulary 8192"
LENGTH, RANK, REPEATS = 128, 32, 5
TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj",
           "down_proj", "lm_head"]


def wide():
    return LlamaForCausalLM(LlamaConfig(
        vocab_size=8192, hidden_size=896, intermediate_size=4864,
        num_hidden_layers=4, num_attention_heads=14, num_key_value_heads=2,
        head_dim=64, max_position_embeddings=1024, rms_norm_eps=1e-6,
        tie_word_embeddings=True, bos_token_id=None, eos_token_id=0))


def step(model, optimizer, tokens, targets):
    logits = model(tokens).logits
    lp = logits.log_softmax(-1).gather(2, targets[..., None])
    (-lp.sum()).backward()
    optimizer.step()
    optimizer.zero_grad()


def train(name, model, sequences, ours):
    vocab = model.config.vocab_size
    model = get_peft_model(model.float(), LoraConfig(
        r=RANK, lora_alpha=32, target_modules=TARGETS, lora_dropout=0.0,
        bias="none", task_type="CAUSAL_LM"))
    optimizer = torch.optim.AdamW(
        [p for p in model.parameters() if p.requires_grad], lr=1e-4,
        betas=(0.9, 0.95), eps=1e-8, weight_decay=0.0)
    tokens, targets = (torch.randint(vocab, (sequences, LENGTH))
                       for _ in range(2))
    best = float("inf")
    for i in range(REPEATS):
        start = time.monotonic()
        step(model, optimizer, tokens, targets)
        if i:
            best = min(best, time.monotonic() - start)
    speed = sequences * LENGTH / best
    line = {"bench": "engine_torch", "op": "train", "model": name,
            "threads": torch.get_num_threads(), "rank": RANK,
            "sequences": sequences, "length": LENGTH,
            "tokens_per_s": round(speed)}
    for other in ours:
        if all(line[k] == other.get(k) for k in
               ("op", "model", "threads", "rank", "sequences", "length")):
            line["ours_tokens_per_s"] = other["tokens_per_s"]
            line["ratio"] = round(other["tokens_per_s"] / speed, 2)
    print(json.dumps(line), flush=True)


def main():
    warnings.filterwarnings("ignore")
    torch.set_num_threads(int(sys.argv[2]))
    torch.manual_seed(1)
    ours = []
    if len(sys.argv) > 3:
        with open(sys.argv[3]) as f:
            ours = [json.loads(line) for line in f]
    train("tiny-kjv", AutoModelForCausalLM.from_pretrained(
        sys.argv[1], torch_dtype=torch.float32), 8, ours)
    train(WIDE, wide(), 4, ours)


if __name__ == "__main__":
    main()
