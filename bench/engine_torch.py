"""Training steps of the CPU engine against PyTorch's on the CPU.

usage: engine_torch.py BENCH_ENGINE [THREADS [TURNS]]
(PyPI: torch, transformers, peft; nothing in this repository installs them)

Eager mode, float32, the same shapes, LoRA rank 32 on every matrix by peft, the
same loss, AdamW. Each side takes a step in turn; a line for each model has
tokens/s of both and the ratio, ours over PyTorch's.
"""
import os
import sys
import time
import warnings

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, Qwen2Config, Qwen2ForCausalLM

import turns

LENGTH, RANK = 128, 32
TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj",
           "down_proj", "lm_head"]
DEMO = os.path.join(os.path.dirname(os.path.abspath(__file__)),
                    "../demo/model/tiny-kjv")


def wide():
    return Qwen2ForCausalLM(Qwen2Config(
        vocab_size=151936, hidden_size=896, intermediate_size=4864,
        num_hidden_layers=24, num_attention_heads=14, num_key_value_heads=2,
        max_position_embeddings=1024, rms_norm_eps=1e-6, rope_theta=1e6,
        tie_word_embeddings=True, bos_token_id=None, eos_token_id=0))


def demo():
    return AutoModelForCausalLM.from_pretrained(DEMO,
                                                torch_dtype=torch.float32)


class Torch:
    def __init__(self, model, sequences):
        vocab = model.config.vocab_size
        self.model = get_peft_model(model.float(), LoraConfig(
            r=RANK, lora_alpha=32, target_modules=TARGETS, lora_dropout=0.0,
            bias="none", task_type="CAUSAL_LM"))
        self.optimizer = torch.optim.AdamW(
            [p for p in self.model.parameters() if p.requires_grad], lr=1e-4,
            betas=(0.9, 0.95), eps=1e-8, weight_decay=0.0)
        self.tokens, self.targets = (
            torch.randint(vocab, (sequences, LENGTH)) for _ in range(2))

    def step(self):
        start = time.monotonic()
        logits = self.model(self.tokens).logits
        lp = logits.log_softmax(-1).gather(2, self.targets[..., None])
        (-lp.sum()).backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        return time.monotonic() - start


def race(program, name, model, dtype, make, sequences, threads, count):
    ours = turns.Engine(program, model, dtype, threads)
    theirs = Torch(make(), sequences)
    command = f"train {sequences}"
    ours.seconds(command)
    theirs.step()
    times = [], []
    for _ in range(count):
        times[0].append(ours.seconds(command))
        times[1].append(theirs.step())
    turns.compare({"bench": "engine_torch", "op": "train", "model": name,
                   "dtype": dtype, "set": ours.facts["set"],
                   "threads": threads, "rank": RANK, "sequences": sequences,
                   "length": LENGTH}, "tokens_per_s", sequences * LENGTH,
                  *times, "torch")
    ours.close()


def main():
    if len(sys.argv) < 2:
        raise SystemExit(__doc__)
    warnings.filterwarnings("ignore")
    threads = int(sys.argv[2]) if len(sys.argv) > 2 else 2
    count = int(sys.argv[3]) if len(sys.argv) > 3 else 5
    torch.set_num_threads(threads)
    torch.manual_seed(1)
    race(sys.argv[1], "tiny-kjv", DEMO, "bf16", demo, 8, threads, 4 * count)
    race(sys.argv[1], "qwen2-0.5b", "qwen2-0.5b", "f32", wide, 4, threads,
         count)


if __name__ == "__main__":
    main()
