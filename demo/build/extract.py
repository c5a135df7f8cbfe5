"""Turn the text packages of Debian into the demo's training and tuning text.

usage: extract.py PACKAGE_ROOT OUT_DIR

PACKAGE_ROOT holds the unpacked packages bible-kjv, bible-kjv-text, dict-devil
and dict-jargon. OUT_DIR receives base.train.txt, base.heldout.txt (documents
separated by a line with a form feed) and jargon.txt (one entry per line).
All three sources are in the public domain; THIRD_PARTY.md has the details.
"""
import gzip
import pathlib
import re
import subprocess
import sys

BOOKS = """Genesis Exodus Leviticus Numbers Deuteronomy Joshua Judges Ruth
1_Samuel 2_Samuel 1_Kings 2_Kings 1_Chronicles 2_Chronicles Ezra Nehemiah
Esther Job Psalms Proverbs Ecclesiastes Song_of_Solomon Isaiah Jeremiah
Lamentations Ezekiel Daniel Hosea Joel Amos Obadiah Jonah Micah Nahum Habakkuk
Zephaniah Haggai Zechariah Malachi Matthew Mark Luke John Acts Romans
1_Corinthians 2_Corinthians Galatians Ephesians Philippians Colossians
1_Thessalonians 2_Thessalonians 1_Timothy 2_Timothy Titus Philemon Hebrews
James 1_Peter 2_Peter 1_John 2_John 3_John Jude Revelation""".split()

PLAIN = str.maketrans({
    "“": '"', "”": '"', "‘": "'", "’": "'", "´": "'", "—": " - ", "−": "-",
    "\u00ad": "", "·": "", "\u00a0": " ", "×": "x", "™": "(tm)",
})

# Left out of the demo: entries about ethnic groups, sex and the like.
UNWANTED = re.compile(
    r"negro|\bnig|\brace\b|jew|hebrew|aborigin|indian|african|fuck|shit|sex|"
    r"rape|nazi|bitch|whore|bastard|\bass\b|asshole|dumbass|crap|damn|piss|cunt|"
    r"penis|breast|porn|urin|excre|masturb|orgas|testic|genital|slave|"
    r"\bfag|queer|gay|lesbian|hitler|drug|virgin|vomit|turd", re.I)


def kjv_chapters(root):
    """The King James text, one document per chapter, verses one per line."""
    out = subprocess.run(
        [root / "usr/bin/bible", "-f", "-p", root / "usr/lib",
         "Gen1:1-Rev22:21"],
        stdin=subprocess.DEVNULL, capture_output=True, check=True)
    chapters, key = [], None
    books = iter(BOOKS)
    for line in out.stdout.decode("ascii").splitlines():
        m = re.match(r"(\w+?)(\d+):(\d+) (.*)$", line)
        if not m:
            raise SystemExit(f"extract: unexpected line: {line!r}")
        short, chapter, verse, text = m.groups()
        if key is None or key[0] != short:
            book = next(books).replace("_", " ")
        if key != (short, chapter):
            chapters.append([f"{book} {chapter}", ""])
            key = (short, chapter)
        chapters[-1].append(f"{verse} {text}")
    if next(books, None) or len(chapters) != 1189:
        raise SystemExit(f"extract: {len(chapters)} chapters, expected 1189")
    return ["\n".join(c) for c in chapters]


def dictd_entries(root, name):
    """The (headword, body) pairs of a dictd dictionary, in headword order."""
    digits = {c: i for i, c in enumerate(
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")}

    def number(text):
        value = 0
        for c in text:
            value = value * 64 + digits[c]
        return value

    share = root / "usr/share/dictd"
    data = gzip.decompress((share / f"{name}.dict.dz").read_bytes())
    entries = {}
    for line in (share / f"{name}.index").read_text("utf-8").splitlines():
        word, offset, size = line.split("\t")[:3]
        if not word.startswith("00-database"):
            start = number(offset)
            entries[start] = data[start:start + number(size)].decode("utf-8")
    return [entries[k] for k in sorted(entries)]


def paragraphs(lines):
    """Joins the hard-wrapped lines of each paragraph."""
    out = [[]]
    for line in lines:
        if line.strip():
            out[-1].append(line.strip())
        elif out[-1]:
            out.append([])
    return [re.sub(r"\s+", " ", " ".join(p)) for p in out if p]


def jargon(root):
    """Short prose entries as 'headword: text', plain ASCII, one per line."""
    for entry in dictd_entries(root, "jargon"):
        lines = entry.translate(PLAIN).splitlines()
        body = [x for x in lines[1:] if not x.strip() or x.startswith("    ")]
        text = " ".join(paragraphs(body))
        text = re.sub(r"\{\s*|\s*\}", "", text)
        text = re.sub(r"^\[[^\]]*\]\s*", "", re.sub(r"\s+", " ", text))
        text = re.sub(r'(^|[ (])" ', r'\1"', text).strip()
        word = lines[0].strip()
        if (150 <= len(text) <= 500 and re.fullmatch(r"[A-Za-z][\w' -]+", word)
                and text.isascii() and word.isascii() and text[-1] in '.!?)"'
                and len(re.findall(r"[^A-Za-z ]", text)) < len(text) * 0.09
                and not UNWANTED.search(word + " " + text)):
            yield f"{word}: {text}"


def devil(root):
    """The Devil's Dictionary, one document per entry."""
    for entry in dictd_entries(root, "devil"):
        text = entry.translate(PLAIN).strip()
        if len(text) > 60 and text.isascii() and not UNWANTED.search(text):
            yield "\n".join(paragraphs([text]) if "\n\n" not in text
                            else [re.sub(r" {4,}", "    ", text)])


def main():
    root, out = map(pathlib.Path, sys.argv[1:3])
    out.mkdir(parents=True, exist_ok=True)
    docs = kjv_chapters(root) + list(devil(root))
    held = [d for i, d in enumerate(docs) if i % 40 == 17]
    train = [d for i, d in enumerate(docs) if i % 40 != 17]
    (out / "base.heldout.txt").write_text("\n\f\n".join(held) + "\n")
    (out / "base.train.txt").write_text("\n\f\n".join(train) + "\n")
    entries = list(jargon(root))
    (out / "jargon.txt").write_text("\n".join(entries) + "\n")
    print(f"extract: {len(train)} + {len(held)} base documents,"
          f" {len(entries)} entries for tuning")


if __name__ == "__main__":
    main()
