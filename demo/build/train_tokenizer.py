"""Train the demo's byte-level BPE tokenizer in the shape of Qwen's.

usage: train_tokenizer.py TEXT MODEL_DIR

Writes tokenizer.json and tokenizer_config.json. The vocabulary is 256 bytes,
1,789 merges and three added tokens: 2,048 ids.
"""
import json
import pathlib
import sys

from tokenizers import (AddedToken, Regex, Tokenizer, decoders, models,
                        normalizers, pre_tokenizers, processors, trainers)

VOCAB = 2048
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
SPLIT = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|"
         r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")


def main():
    text, out = map(pathlib.Path, sys.argv[1:3])
    tok = Tokenizer(models.BPE())
    tok.normalizer = normalizers.NFC()
    tok.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(SPLIT), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tok.decoder = decoders.ByteLevel()
    tok.post_processor = processors.ByteLevel(trim_offsets=False)
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB - len(SPECIAL), show_progress=False,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()))
    docs = text.read_text().split("\n\f\n")
    tok.train_from_iterator(docs, trainer)
    tok.add_special_tokens(
        [AddedToken(t, special=True, normalized=False) for t in SPECIAL])
    if tok.get_vocab_size() != VOCAB:
        raise SystemExit(f"tokenizer: {tok.get_vocab_size()} ids")
    out.mkdir(parents=True, exist_ok=True)
    spec = json.loads(tok.to_str())
    for part in ("post_processor", "decoder"):  # as Qwen's file has them
        spec[part] = {"type": "ByteLevel", "add_prefix_space": False,
                      "trim_offsets": False, "use_regex": False}
    (out / "tokenizer.json").write_text(
        json.dumps(spec, ensure_ascii=False, indent=1) + "\n")
    (out / "tokenizer_config.json").write_text(json.dumps({
        "tokenizer_class": "PreTrainedTokenizerFast",
        "add_prefix_space": False,
        "clean_up_tokenization_spaces": False,
        "eos_token": SPECIAL[0],
        "pad_token": SPECIAL[0],
        "bos_token": None,
        "unk_token": None,
        "model_max_length": 1024,
    }, indent=2) + "\n")


if __name__ == "__main__":
    main()
