"""Write tiny random models, adapters and the numbers PyTorch gets for them.

usage: make_models.py [FOLDER]     (PyPI: torch, transformers, peft,
                                    safetensors; see README.md)

Each folder in FOLDER (tests/golden/models unless named) is a case for the
engine's tests:
  config.json, model.safetensors      the base, as transformers saves it
  adapter/                            a LoRA adapter in PEFT's naming
  logprobs.json                       data, log-probabilities and losses
  grads.safetensors                   d(loss)/d(every A and B), PEFT's names
All numbers are computed in float32 from the weights as stored.
"""
import json
import pathlib
import shutil
import sys

import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import save_file
from transformers import (LlamaConfig, LlamaForCausalLM, Qwen2Config,
                          Qwen2ForCausalLM, Qwen3Config, Qwen3ForCausalLM)

HERE = pathlib.Path(__file__).parent / "models"
RANK, ALPHA = 2, 32
TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj",
           "down_proj", "lm_head"]
COMMON = dict(vocab_size=64, hidden_size=32, intermediate_size=28,
              num_hidden_layers=2, num_attention_heads=4,
              num_key_value_heads=2, max_position_embeddings=128,
              bos_token_id=None, eos_token_id=0)
LLAMA3 = dict(rope_type="llama3", factor=8.0, low_freq_factor=1.0,
              high_freq_factor=4.0, original_max_position_embeddings=64)


def llama(tied):
    return LlamaForCausalLM(LlamaConfig(
        **COMMON, rope_theta=100.0, rope_scaling=LLAMA3, rms_norm_eps=1e-5,
        tie_word_embeddings=tied))


def qwen2(tied):
    return Qwen2ForCausalLM(Qwen2Config(
        **COMMON, rope_theta=1e6, rms_norm_eps=1e-6, tie_word_embeddings=tied))


def qwen3(tied):
    return Qwen3ForCausalLM(Qwen3Config(
        **COMMON, head_dim=12, rope_theta=1e6, rms_norm_eps=1e-6,
        tie_word_embeddings=tied))


# name: (constructor, tied, stored type, bytes per shard)
CASES = {
    "llama_tied": (llama, True, torch.float32, None),
    "llama_untied": (llama, False, torch.float16, None),
    "qwen2_tied": (qwen2, True, torch.float32, None),
    "qwen2_untied": (qwen2, False, torch.bfloat16, None),
    "qwen3_tied": (qwen3, True, torch.float32, None),
    "qwen3_untied": (qwen3, False, torch.float32, 40000),
}


def spread(model):
    """Random values large enough that a mistake anywhere shows."""
    with torch.no_grad():
        for name, p in model.named_parameters():
            if "norm" in name:
                p.uniform_(0.5, 1.5)
            elif name.endswith("bias"):
                p.normal_(0, 0.5)
            else:
                p.normal_(0, 0.25)


def data(gen):
    out = []
    for n in (24, 9):
        ids = torch.randint(64, (n + 1,), generator=gen)
        weights = torch.rand(n, generator=gen)
        weights[torch.rand(n, generator=gen) < 0.3] = 0
        out.append((ids[:-1], ids[1:], weights))
    return out


def target_logprobs(model, ids, targets):
    logits = model(ids[None]).logits[0].float()
    return logits.log_softmax(-1).gather(1, targets[:, None])[:, 0]


def adapter_of(model):
    peft = get_peft_model(model, LoraConfig(
        r=RANK, lora_alpha=ALPHA, target_modules=TARGETS, lora_dropout=0.0,
        bias="none", task_type="CAUSAL_LM"))
    with torch.no_grad():
        for name, p in peft.named_parameters():
            if "lora_A" in name:
                p.uniform_(-p.shape[1] ** -0.5, p.shape[1] ** -0.5)
            elif "lora_B" in name:
                p.normal_(0, 0.03)
    return peft


def save_adapter(peft, folder):
    folder.mkdir()
    weights = {k.replace(".default", ""): v.detach().contiguous()
               for k, v in peft.named_parameters() if "lora_" in k}
    save_file(weights, folder / "adapter_model.safetensors", {"format": "pt"})
    (folder / "adapter_config.json").write_text(json.dumps({
        "peft_type": "LORA", "task_type": "CAUSAL_LM", "r": RANK,
        "lora_alpha": ALPHA, "lora_dropout": 0.0, "bias": "none",
        "target_modules": TARGETS, "inference_mode": True,
    }, indent=2) + "\n")


def case(folder, seed):
    make, tied, dtype, shard = CASES[folder.name]
    shutil.rmtree(folder, ignore_errors=True)
    torch.manual_seed(seed)
    model = make(tied)
    spread(model)
    model.to(dtype).save_pretrained(
        folder, max_shard_size=shard or "1GB")
    model = type(model).from_pretrained(folder, dtype=torch.float32,
                                        attn_implementation="eager")
    (folder / "generation_config.json").unlink(missing_ok=True)
    items = data(torch.Generator().manual_seed(seed))
    base = [target_logprobs(model, i, t).detach() for i, t, _ in items]
    peft = adapter_of(model)
    save_adapter(peft, folder / "adapter")
    lps = [target_logprobs(peft, i, t) for i, t, _ in items]
    losses = [-(w * lp).sum() for (_, _, w), lp in zip(items, lps)]
    sum(losses).backward()
    save_file({k.replace(".default", ""): p.grad.contiguous()
               for k, p in peft.named_parameters() if p.requires_grad},
              folder / "grads.safetensors", {"format": "pt"})
    (folder / "logprobs.json").write_text(json.dumps({
        "rank": RANK, "alpha": ALPHA, "data": [{
            "tokens": i.tolist(), "targets": t.tolist(),
            "weights": [round(x, 9) for x in w.tolist()],
            "base_logprobs": [round(x, 7) for x in b.tolist()],
            "adapter_logprobs": [round(x, 7) for x in lp.tolist()],
            "adapter_loss": round(float(loss), 6),
        } for (i, t, w), b, lp, loss in zip(items, base, lps, losses)]},
        indent=1) + "\n")
    size = sum(f.stat().st_size for f in folder.rglob("*") if f.is_file())
    print(f"{folder.name}: {size} bytes, loss {float(sum(losses)):.5f}")


def main():
    torch.set_num_threads(1)
    out = pathlib.Path(sys.argv[1]) if sys.argv[1:] else HERE
    for seed, name in enumerate(CASES):
        case(out / name, seed + 1)


if __name__ == "__main__":
    main()
