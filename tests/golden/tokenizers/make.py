#!/usr/bin/env python3
"""Makes bytes.json, llama3.json and gpt2.json: small tokenizers without a
merge, in the manner of Llama 3 (split pattern, ignore_merges, a template,
special tokens) and of GPT-2 (ByteLevel with its own pattern). Needs the
package `tokenizers`; not part of the tests, which use the files as they are.

  tests/golden/tokenizers/make.py
"""
import json
import pathlib

from tokenizers import (AddedToken, Regex, Tokenizer, decoders, models,
                        pre_tokenizers, processors, trainers)

HERE = pathlib.Path(__file__).resolve().parent
TEXT = HERE.parents[2] / "demo/data/jargon.txt"
MORE = ["Größe Übung Straße déjà-vu façade über", "Привет, мир! Как дела?",
        "日本語のテキスト、東京。", "한국어 문장입니다.", "مرحبا بالعالم",
        "🙂🙃👩‍👩‍👧‍👦", "1234567890 3.14159", "I'll we've you're DON'T"] * 40
PATTERN = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|"
           r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")


def train(tokenizer, specials):
    trainer = trainers.BpeTrainer(
        vocab_size=600, special_tokens=specials, show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    lines = TEXT.read_text(encoding="utf-8").splitlines(keepends=True)
    tokenizer.train_from_iterator(lines + MORE, trainer)


def llama3():
    tokenizer = Tokenizer(models.BPE(ignore_merges=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(PATTERN), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    train(tokenizer, [])
    tokenizer.add_special_tokens([
        "<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>",
        "<|start_header_id|>", "<|end_header_id|>"])
    # Not special, spelt so that the longest must win; one matched only after
    # normalisation, two that take white space along.
    tokenizer.add_tokens(["<tool>", "<tool>s", "  ",
                          AddedToken("é!", normalized=True),
                          AddedToken("<left>", lstrip=True, normalized=False),
                          AddedToken("<right>", rstrip=True,
                                     normalized=False)])
    bos = ("<|begin_of_text|>", tokenizer.token_to_id("<|begin_of_text|>"))
    tokenizer.post_processor = processors.Sequence([
        processors.ByteLevel(trim_offsets=False),
        processors.TemplateProcessing(
            single=f"{bos[0]} $A", pair=f"{bos[0]} $A {bos[0]} $B:1",
            special_tokens=[bos])])
    return tokenizer


def gpt2():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    train(tokenizer, ["<|endoftext|>"])
    return tokenizer


def one_per_byte():
    """Every byte is a token, its id the byte, and nothing merges: the text of
    a tokenizer.json in which a test may put what it likes."""
    own = [*range(0x21, 0x7f), *range(0xa1, 0xad), *range(0xae, 0x100)]
    others = [b for b in range(256) if b not in own]
    letters = [chr(b) if b in own else chr(0x100 + others.index(b))
               for b in range(256)]
    level = {"type": "ByteLevel", "add_prefix_space": False,
             "trim_offsets": True, "use_regex": True}
    return json.dumps({
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [], "normalizer": None, "pre_tokenizer": level,
        "post_processor": None, "decoder": {**level, "use_regex": False},
        "model": {"type": "BPE", "dropout": None, "unk_token": None,
                  "continuing_subword_prefix": None,
                  "end_of_word_suffix": None, "fuse_unk": False,
                  "byte_fallback": False, "ignore_merges": False,
                  "vocab": {c: b for b, c in enumerate(letters)},
                  "merges": []}})


(HERE / "bytes.json").write_text(one_per_byte())
for name, make in (("llama3", llama3), ("gpt2", gpt2)):
    make().save(str(HERE / f"{name}.json"))
    print(f"{name}.json written")
