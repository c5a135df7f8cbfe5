#!/usr/bin/env python3
"""Compares the tokenizer with the package `tokenizers`: 0 differences.

  test_tokenizer.py TOKENIZE_CLI [--strings N]

For each tokenizer, N generated strings (1,000 by default) and a list of nasty
ones are encoded (plain, with the template's tokens, with special tokens as
text) and decoded (all at once, without special tokens, by a stream) by both.
Characters that Unicode assigned after version 14 are not compared, but
counted and printed (docs: PCRE2 may know only version 14). Exit code 77 when
the package is not there.
"""
import argparse
import copy
import itertools
import json
import pathlib
import random
import struct
import subprocess
import sys
import tempfile
import unicodedata

try:
    import tokenizers
except ImportError:
    print("skipped: this Python has no package 'tokenizers'")
    sys.exit(77)

ROOT = pathlib.Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "tests/golden/tokenizers"
TINY = ROOT / "demo/model/tiny-kjv/tokenizer.json"

# A Python that knows more than Unicode 14 falls back to its table of 3.2.
TABLE = unicodedata if unicodedata.unidata_version == "14.0.0" \
    else unicodedata.ucd_3_2_0
CODES = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]
ASSIGNED = [c for c in CODES if TABLE.category(chr(c)) != "Cn"]
LATER = [c for c in CODES if c < 0x34000 and TABLE.category(chr(c)) == "Cn"]
COMPOSED = [c for c in ASSIGNED
            if TABLE.decomposition(chr(c))[:1] not in ("", "<")]
COMPOSED += [*range(0x1100, 0x1113), *range(0x1161, 0x1176),
             *range(0x11a8, 0x11c3), 0x11935, 0x11930]
LATIN = [*range(0x300, 0x346), *map(ord, "aeiou")]
MARKS = [c for c in ASSIGNED if unicodedata.combining(chr(c))]

SPACES = "\t\n\v\f\r \x85\xa0\u1680\u180e\u2000\u2003\u200a\u200b\u2028" \
    "\u2029\u202f\u205f\u2060\u3000\ufeff"
CONTRACTIONS = ["'s", "'S", "'t", "'T", "'re", "'RE", "'Re", "'ve", "'VE",
                "'m", "'M", "'ll", "'LL", "'lL", "'d", "'D", "'\u017f",
                "\u2019s", "'st", "'ss", "'sT", "'l", "'v", "''s"]

NASTY = [
    "", " ", "  ", "\n", "\r\n", "\n\r", "\r\n\r\n \r\n", "a\r\nb\rc\nd",
    " \n", "\n ", " \n ", "x  \n  y", "\t\t\tif (x)\t{\n", "\0", "a\0b\0\0",
    "don't DON'T Don'T we'LL they'Re I'M x'\u017f 'tis ''s",
    "e\u0301 \u00e9 e\u0301\u0323 e\u0323\u0301 \u1e69 s\u0323\u0307",
    "\u212b \u2126 \ufb01 \uac00 \u1100\u1161\u11a8 \u0344 \u0958",
    "\u0f71\u0f72\u0f74\u0f71", "\u0300", "\u0301\u0300\u0323a",
    "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466",
    "\U0001f1e9\U0001f1ea\U0001f3f4\U000e0067\U000e0062\U000e007f",
    "\u2764\ufe0f\u20e3 1\ufe0f\u20e3 \U0001f44d\U0001f3fd",
    "1 12 123 1234 12345 \u0661\u0662\u0663\u0664 \u2460\u00bd\u2167 1,234.5",
    "\ufeffbom", "\ufffd\ufffe\uffff \U0010ffff", "\x7f\x80\x9f\xad",
    "<|im_start|>user\nHi<|im_end|>\n<|endoftext|>", "<|im_start|",
    "<|begin_of_text|><|eot_id|><|begin_of_text|>x", "<|<|eot_id|>|>",
    "<|end_of_text|><|end_of_tex|>", "<tool><tool>s<tools>", "a   b    c",
    "e\u0301! \u00e9! \u00e9 !", "  <left>  <right>  x<left><right>",
    " <right> \n\t <left> ", "<right>  <right>\u3000\u180e<left>",
    "<right>    <left>    <right>", "<left>" * 3 + " " + "<right>" * 3,
    "a" * 5000, " " * 5000, "\n" * 5000, "ab" * 3000, "\u0301" * 3000,
    "e" + "\u0323\u0301" * 2000, "\u4e00" * 2000, "\U0001f600" * 1000,
    "'" * 999, "1" * 1000, " a" * 1000, "\r\n" * 1000, "the " * 1000,
    " " * 1000 + "a", "a" + "\t " * 500 + "\nb", "!" * 1000, "\u3000" * 500,
    "def f(x):\n    return x ** 2\n\n\n    # done\n",
    "http://example.org/?a=1&b=%20#x", "\\u0041 \\n", "{}[]()<>",
    "\u0130\u0131\u1e9e\u00df \u212a\u017f",
    "\u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35 \u0939\u093f\u0928\u094d\u0926\u0940",
]


def some_char(rng):
    kind = rng.random()
    if kind < 0.25:
        return chr(rng.randrange(32, 127))
    if kind < 0.4:
        return rng.choice(SPACES)
    if kind < 0.5:
        return chr(rng.choice(MARKS))
    if kind < 0.6:
        return rng.choice(CONTRACTIONS)
    if kind < 0.65:
        return rng.choice("0123456789\u0663\u0be7\u2460\u216b\u00b2")
    if kind < 0.75:
        return chr(rng.randrange(0xa0, 0x250))
    return chr(rng.choice(ASSIGNED))


def some_text(rng, specials):
    kind = rng.random()
    n = rng.choice([1, 2, 3, 5, 8, 13, 30, 80])
    if kind < 0.45:
        return "".join(some_char(rng) for _ in range(n))
    if kind < 0.6:  # neighbours of one range
        at = rng.choice(ASSIGNED)
        near = [c for c in range(at - 20, at + 20)
                if 0 <= c < 0x110000 and not 0xD800 <= c < 0xE000
                and TABLE.category(chr(c)) != "Cn"]
        return "".join(chr(rng.choice(near)) for _ in range(n))
    if kind < 0.65:  # marks in any order behind anything
        return "".join(chr(rng.choice(rng.choice([MARKS, LATIN, COMPOSED,
                                                  ASSIGNED])))
                       for _ in range(n))
    if kind < 0.7:  # runs
        return "".join(some_char(rng) * rng.randrange(1, 12)
                       for _ in range(rng.randrange(1, 6)))
    if kind < 0.8:  # special tokens, whole and cut, inside text
        parts = []
        for _ in range(rng.randrange(1, 6)):
            s = rng.choice(specials)
            parts.append(s if rng.random() < 0.7 else s[:rng.randrange(len(s))])
            parts.append("".join(some_char(rng)
                                 for _ in range(rng.randrange(0, 4))))
        return "".join(parts)
    if kind < 0.9:  # words
        return "".join(rng.choice([" ", "", "\n", "  "]) +
                       "".join(chr(rng.choice(b"etaoinETAOIN'"))
                               for _ in range(rng.randrange(1, 9)))
                       for _ in range(n))
    return "".join(rng.choice(["\r", "\n", "\r\n", " ", "\t", "a", "!"])
                   for _ in range(n))


class Ours:
    """Requests are collected and answered in one run of the program."""

    def __init__(self, cli, path, *flags):
        self.command = [str(cli), str(path), *flags]
        self.requests = []

    def ask(self, op, payload):
        self.requests.append(op + struct.pack("<I", len(payload)) + payload)

    def answers(self):
        done = subprocess.run(self.command, input=b"".join(self.requests),
                              stdout=subprocess.PIPE, check=False)
        if done.returncode != 0:
            sys.exit(f"{self.command}: exit code {done.returncode}: "
                     f"{done.stdout[:300]!r}")
        at, found = 0, []
        for _ in self.requests:
            n, = struct.unpack_from("<I", done.stdout, at)
            at += 4
            if n == 0xFFFFFFFF:
                code, = struct.unpack_from("<i", done.stdout, at)
                found.append(code)
                at += 4
            else:
                found.append(done.stdout[at:at + n])
                at += n
        return found


def pack(ids):
    return struct.pack(f"<{len(ids)}i", *ids)


def compare(cli, path, texts, rng, flags=(), encode_only=False):
    """How many answers were compared and how many differed."""
    theirs = tokenizers.Tokenizer.from_file(str(path))
    ours = Ours(cli, path, *flags)
    wanted = []

    def expect(op, payload, answer, about):
        ours.ask(op, payload)
        wanted.append((op, answer, about))

    size = theirs.get_vocab_size()
    sequences = []
    for text in texts:
        raw = text.encode("utf-8")
        ids = theirs.encode(text, add_special_tokens=False).ids
        expect(b"e", raw, pack(ids), text)
        if encode_only:
            continue
        sequences.append(ids)
        expect(b"E", raw, pack(theirs.encode(text).ids), text)
    theirs.encode_special_tokens = True
    for text in texts[:len(sequences)]:
        ids = theirs.encode(text, add_special_tokens=False).ids
        expect(b"t", text.encode("utf-8"), pack(ids), text)
    for _ in range(len(sequences) // 4):  # mostly no UTF-8 at all, and ids
        sequences.append([rng.randrange(size + 20)  # that no token has
                          for _ in range(rng.randrange(0, 20))])
    for ids in sequences:
        whole = theirs.decode(ids, skip_special_tokens=False).encode("utf-8")
        expect(b"d", pack(ids), whole, ids)
        expect(b"s", pack(ids), whole, ids)
        expect(b"D", pack(ids),
               theirs.decode(ids, skip_special_tokens=True).encode("utf-8"),
               ids)
    bad = 0
    for (op, answer, about), got in zip(wanted, ours.answers()):
        if got != answer:
            bad += 1
            if bad <= 5:
                print(f"  {path.name} {op!r} {about!r:.200}:\n    want "
                      f"{answer[:80]!r}\n    got  {got!r:.200}")
    return len(wanted), bad


def letters():
    """The alphabet of byte-level BPE, by byte."""
    own = [*range(0x21, 0x7f), *range(0xa1, 0xad), *range(0xae, 0x100)]
    others = [b for b in range(256) if b not in own]
    return [chr(b) if b in own else chr(0x100 + others.index(b))
            for b in range(256)]


def witness(base):
    """base with a vocabulary that betrays where text was split: any two bytes
    merge, in an order drawn by lot."""
    made = copy.deepcopy(base)
    single = letters()
    pairs = [(a, b) for a in single for b in single]
    random.Random(14).shuffle(pairs)
    names = single + [a + b for a, b in pairs]
    vocab = {name: i for i, name in enumerate(names)}
    made["model"].update(vocab=vocab, merges=pairs, ignore_merges=False)
    at = len(names)
    for token in made["added_tokens"]:
        token["id"] = vocab.get(token["content"], at)
        at += token["id"] == at
    made["post_processor"] = None
    return made


def each_code():
    """Texts that together hold every assigned character in company."""
    for at in range(0, len(ASSIGNED), 32):
        yield " ".join(f"a{c}1{c}{c}!{c}\n{c}" for c in
                       map(chr, ASSIGNED[at:at + 32]))


def variants():
    """(name, tokenizer.json) of further features, with a vocabulary that shows
    every difference in splitting."""
    base = witness(json.loads((GOLDEN / "llama3.json").read_text("utf-8")))
    level = {"type": "ByteLevel", "add_prefix_space": False,
             "trim_offsets": True, "use_regex": False}

    def with_steps(name, *steps, **changes):
        made = {**base, "model": {**base["model"]}}  # one vocabulary for all
        made["pre_tokenizer"] = {"type": "Sequence",
                                 "pretokenizers": [*steps, level]}
        for key, value in changes.items():
            if key in made["model"]:
                made["model"][key] = value
            else:
                made[key] = value
        return name, made

    def split(pattern, behavior="Isolated", invert=False, kind="Regex"):
        return {"type": "Split", "pattern": {kind: pattern},
                "behavior": behavior, "invert": invert}

    for behavior in ("Isolated", "Removed", "MergedWithPrevious",
                     "MergedWithNext", "Contiguous"):
        for invert in (False, True):
            yield with_steps(f"{behavior}-{invert}",
                             split(r"\s|\p{Lu}+", behavior, invert))
        yield with_steps(f"{behavior}-empty", split(r"\d*|a??", behavior))
        yield with_steps(f"{behavior}-text", split("e", behavior, kind="String"))
    for single in (False, True):
        yield with_steps(f"digits-{single}",
                         {"type": "Digits", "individual_digits": single})
    yield with_steps("nfc", split(r"\s+"), normalizer={
        "type": "Sequence", "normalizers": [{"type": "NFC"}]})
    yield with_steps("whole", split(r"\S+"), ignore_merges=True)
    # Patterns of models in use.
    yield with_steps("gpt4", split(
        r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?"
        r"[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+"))
    upper, lower = r"\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}", r"\p{Ll}\p{Lm}\p{Lo}\p{M}"
    short = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    yield with_steps("gpt4o", split(
        rf"[^\r\n\p{{L}}\p{{N}}]?[{upper}]*[{lower}]+{short}|"
        rf"[^\r\n\p{{L}}\p{{N}}]?[{upper}]+[{lower}]*{short}|"
        r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"))
    yield with_steps(
        "deepseek", split(r"\p{N}{1,3}"),
        split("[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+"),
        split(r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|"
              r"[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|"
              r"\s*[\r\n]+|\s+(?!\S)|\s+"))
    yield with_steps("older", split(r"[\r\n]"), split(r"\s?\p{L}+"),
                     split(r"\s?\p{P}+"), split(r"[\p{Han}\u3041-\u3096]+"),
                     {"type": "Digits", "individual_digits": True})
    yield with_steps("corners", split(
        r"(?<=a)b|(?<!\s)\S\x{301}|[^\S\n]{2,3}|[\D\x41-\x5a]+?\d|\P{^L}|"
        r"(?>x+)y|\v|[a-c\-\]^-]|(?i:k|[x-z]q)|(a|b){2}"))


def added_variants():
    """(name, tokenizer.json) with added tokens as model families have them, on
    a vocabulary of single bytes. No text makes the reference panic."""
    base = json.loads((GOLDEN / "bytes.json").read_text("utf-8"))

    def with_added(name, *tokens, nfc=True):
        made = copy.deepcopy(base)
        made["normalizer"] = {"type": "NFC"} if nfc else None
        made["added_tokens"] = [
            {"id": i, "content": content, "single_word": False,
             "lstrip": "l" in flags, "rstrip": "r" in flags,
             "normalized": "n" in flags, "special": "s" in flags}
            for i, content, flags in tokens]
        return name, made

    runs = [(257 + i, " " * n, "n") for i, n in enumerate(range(24, 1, -1))]
    yield with_added("neox", (256, "<|endoftext|>", "s"), *runs)
    yield with_added("codegen", (256, "<|endoftext|>", "sn"), *runs, nfc=False)
    yield with_added("strips", (256, "\n", "lrs"), (257, "<left>", "ls"),
                     (258, "\t", "lr"), (259, "\u3000", "lrn"))
    yield with_added("rights", (256, "\n", "rs"), (257, "<right>", "rs"),
                     (258, " ", "r"))
    yield with_added("lefts", (256, "\r\n", "ls"), (257, "<left>", "l"),
                     (258, "  ", "ln"))
    yield with_added("not_nfc", (256, "e\u0301", "n"), (257, "\u212b!", "ns"),
                     (258, "e\u0301\u0323", "s"), (259, "\u00e9!", "n"))
    yield with_added("twice", (256, "<tool>", "s"), (257, "<s>", "n"),
                     (256, "<tool>", "s"), (257, "<s>", "n"), (258, "<a>", ""))
    name, made = with_added("untyped", (256, "<|endoftext|>", "sn"), nfc=False)
    del made["model"]["type"]
    yield name, made


def count_later(cli, path):
    """Characters assigned after Unicode 14 that are split otherwise."""
    theirs = tokenizers.Tokenizer.from_file(str(path))
    ours = Ours(cli, path)
    texts = [f"a{chr(c)}1{chr(c)}{chr(c)}!" for c in LATER]
    for text in texts:
        ours.ask(b"e", text.encode("utf-8"))
    return sum(got != pack(theirs.encode(text).ids)
               for text, got in zip(texts, ours.answers()))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("cli")
    parser.add_argument("--strings", type=int, default=1000)
    args = parser.parse_args()
    rng = random.Random(20)
    total = bad = 0
    for path in (TINY, GOLDEN / "llama3.json", GOLDEN / "gpt2.json"):
        added = json.loads(path.read_text(encoding="utf-8"))["added_tokens"]
        specials = [t["content"] for t in added]
        texts = NASTY + [some_text(rng, specials) for _ in range(args.strings)]
        n, wrong = compare(args.cli, path, texts, rng)
        print(f"{path.name}: {len(texts)} strings, {n} answers, {wrong} differ")
        total, bad = total + n, bad + wrong
    with tempfile.TemporaryDirectory() as folder:
        for path in (TINY, GOLDEN / "gpt2.json"):
            made = witness(json.loads(path.read_text(encoding="utf-8")))
            path = pathlib.Path(folder) / path.name
            path.write_text(json.dumps(made), encoding="utf-8")
            n, wrong = compare(args.cli, path, list(each_code()), rng,
                               encode_only=True)
            print(f"{path.name}: all {len(ASSIGNED)} characters, {n} answers, "
                  f"{wrong} differ")
            total, bad = total + n, bad + wrong
        later = count_later(args.cli, pathlib.Path(folder) / TINY.name)
        for name, made in itertools.chain(variants(), added_variants()):
            path = pathlib.Path(folder) / f"{name}.json"
            path.write_text(json.dumps(made), encoding="utf-8")
            specials = [t["content"] for t in made["added_tokens"]]
            texts = NASTY + [some_text(rng, specials)
                             for _ in range(args.strings // 20)]
            flags = ("nojit",) if rng.random() < 0.5 else ()
            n, wrong = compare(args.cli, path, texts, rng, flags)
            if wrong:
                print(f"{name}: {n} answers, {wrong} differ")
            total, bad = total + n, bad + wrong
    print(f"{total} answers compared with tokenizers "
          f"{tokenizers.__version__}, {bad} differ; of {len(LATER)} code "
          f"points not in Unicode 14 {later} are split otherwise (not counted)")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
