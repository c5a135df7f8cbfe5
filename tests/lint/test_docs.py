#!/usr/bin/env python3
"""What the documentation names is there: paths, links, flags, symbols, states.

  tests/lint/test_docs.py

Read are README.md, CONTRIBUTING.md and docs/. What stands between backticks in
a line is looked up:

- a path of the tree, from its root, from src/, local/ or local/service/, from
  the folder of the path before it or of the page; "*" and "<...>" match any
  name; a name of a file alone may be in any folder;
- a path of the service's table of routes, without "api/v1/";
- a flag (--word) in a program or script of the project;
- a symbol (tinker_..., tinker__..., TINKER_...) in a source file.

A path under $source or $root in a script is there too, in each of its forms
("{a,b}", "*", a variable).

The table of an operation's states in docs/internals/client-flow.md must be that
of src/flow/op.c, and its list of a part's states the enum of src/flow/op.h. The
tables under "Lives" in docs/internals/service.md must be those of
local/service/core/states.c. The table of records in docs/internals/recovery.md must
be that of recovery/journal/record.h, with the files of recovery/run/ that write
each; the table of events in docs/recovery.md has those that a run says.
"""
import pathlib
import re
import sys

from test_mirror import expand

ROOT = pathlib.Path(__file__).resolve().parents[2]
FLOW = "docs/internals/client-flow.md"
SERVICE = "docs/internals/service.md"
RECOVERY = "docs/internals/recovery.md"
EVENTS = "docs/recovery.md"
LIVES = {"session": "Session", "model": "Model", "op": "Call"}  # in states.c, and its heading on the page
SOURCES = ("include", "src", "local", "recovery", "tests", "examples", "scripts", "bench",
           "demo", "cmake")
SCRIPT_PATH = re.compile(r"\$\{?(?:source|root)\}?/([\w.{},*$/-]+)")
# Files that exist only where a program runs, or that belong to others.
ELSEWHERE = re.compile(
    r"^(/|~|\.\.|https?:|unix:|tinker:)|^(checkpoints|snapshots|lost|runs)/|"
    r"^[\d.]+/[smh]$|"  # a rate
    r"^(build|out|api/v1|health|_operator|_test|_faults)(/|$)|"
    r"^(\w+/)*(config\.json|tokenizer\.json|tinker\.json|store\.db\S*|"
    r"plan\.json|ledger\.jsonl|adapter_\w+\.\w+|model\.safetensors\S*)$")
# Flags of other programs that the pages name.
FOREIGN_FLAGS = {"--unix-socket", "--filter", "--preset", "--test-dir",
                 "--output-on-failure", "--target", "--build", "--verbose"}
# Patterns of names, and names of others that the pages say are not there.
FOREIGN_NAMES = {"tinker_noun_verb", "tinker__noun_verb",
                 "TINKER_CREDENTIAL_CMD"}
# A path has a folder, or is a file of a kind that the project has.
PATH = re.compile(r"^[\w.<>*-]+(/[\w.<>*-]+)+/?$|^[\w-]+\.(c|h|py|md|json)$")


def pages(root):
    found = [root / "README.md", root / "CONTRIBUTING.md"]
    return found + sorted((root / "docs").rglob("*.md"))


def without_blocks(text):
    """The lines outside of code blocks, with their numbers."""
    inside = False
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith("```"):
            inside = not inside
        elif not inside and not line.startswith("    "):
            yield number, line


class Tree:
    def __init__(self, root):
        self.root = root
        self.words = set()
        self.flags = set()
        self.names = set()
        self.routes = set(re.findall(
            r'"api/v1/([^"]+)"',
            (root / "local/service/tinker/routes.c").read_text()))
        for top in SOURCES:
            for path in sorted((root / top).rglob("*")):
                if path.is_file() and path.suffix in (
                        "", ".c", ".h", ".py", ".txt", ".cmake", ".in",
                        ".proto"):
                    self.read(path)
        self.read(root / "CMakePresets.json")
        self.read(root / "CMakeLists.txt")

    def read(self, path):
        if path == pathlib.Path(__file__).resolve():
            return
        self.names.add(path.name)
        text = path.read_text(encoding="utf-8", errors="replace")
        self.words |= set(re.findall(r"\w+", text))
        self.flags |= set(re.findall(r"--[a-z][a-z-]+", text))

    def has_path(self, name, before, page):
        if name in self.names or name in self.routes:
            return True
        pattern = re.sub(r"<[^>]*>", "*", name.rstrip("/"))
        bases = ["", "src", "local", "local/service", str(page.parent)]
        if before:
            bases.append(before)
        return any(any((self.root / base).glob(pattern)) for base in bases)

    def has_symbol(self, name):
        name = name.rstrip("()")
        if name.endswith(("_", "*")):
            start = name.rstrip("*")
            return any(w.startswith(start) for w in self.words)
        return name in self.words


def check_word(tree, word, before, page):
    """Why the page may not say this word, or None."""
    if re.match(r"^--[a-z]", word):
        flag = re.match(r"--[a-z-]+", word).group()
        if flag not in tree.flags | FOREIGN_FLAGS:
            return f"no program has the flag {flag}"
    elif re.match(r"^(tinker_|TINKER_)\w*\*?(\(\))?$", word):
        if not tree.has_symbol(word) and word not in FOREIGN_NAMES:
            return f"nothing is called {word}"
    elif PATH.match(word) and not ELSEWHERE.match(word):
        if not tree.has_path(word, before, page):
            return f"there is no {word}"
    return None


def check_page(tree, path):
    faults = []
    before = None
    for number, line in without_blocks(path.read_text(encoding="utf-8")):
        words = re.findall(r"`([^`]+)`", line)
        links = re.findall(r"\]\(([^)#]+)[^)]*\)", line)
        for word in words:
            for part in word.split():
                why = check_word(tree, part, before, path)
                if why:
                    faults.append(f"{path}:{number}: {why}")
                if "/" in part and PATH.match(part):
                    before = part.rpartition("/")[0]
        for link in links:
            if not re.match(r"https?:|mailto:", link) and \
                    not (path.parent / link).exists():
                faults.append(f"{path}:{number}: there is no {link}")
    return faults


def scripts(root):
    for top in SOURCES:
        for path in sorted((root / top).rglob("*")):
            if path.is_file() and not path.suffix:
                text = path.read_text(encoding="utf-8", errors="replace")
                if re.match(r"#!.*\b(ba)?sh\n", text):
                    yield path.relative_to(root), text


def check_script(root, path, text):
    faults = []
    for number, line in enumerate(text.splitlines(), 1):
        for word in SCRIPT_PATH.findall(re.sub(r'["\\]', "", line)):
            for name in expand(re.sub(r"\$\w+", "*", word)):
                if not ELSEWHERE.match(name) and not any(root.glob(name)):
                    faults.append(f"{path}:{number}: there is no {name}")
    return faults


def table_of_code(text):
    """{state: [cell, ...]} of the table in op.c, in the order of the events."""
    table = {}
    for state, rows in re.findall(r"\[([A-Z]+)\] = \{\n(.*?)\n  \},", text,
                                  re.S):
        cells = {}
        for event, following, action in re.findall(
                r"\[TINKER__ON_(\w+)\] = (?:BUG\(\w+\)|"
                r"\{(\w+), TINKER__DO_(\w+)\})", rows):
            cells[event.lower()] = \
                f"{following} {action}".lower() if following else "-"
        table[state.lower()] = cells
    return table


def table_of_page(text):
    rows = [[c.strip() for c in line.strip("|").split("|")]
            for line in text.splitlines() if line.startswith("|")]
    start = next(i for i, r in enumerate(rows) if r[:2] == ["State", "turn"])
    events = rows[start][1:]
    table = {}
    for row in rows[start + 2:]:
        if len(row) != len(events) + 1:
            break
        table[row[0]] = dict(zip(events, row[1:]))
    return table


def parts_of_code(text):
    body = text[:text.index("} tinker__part_state_t;")].rpartition("{")[2]
    return [name.lower() for name in re.findall(r"TINKER__PART_(\w+)", body)]


def parts_of_page(text):
    section = text[text.index("## States of a part"):]
    section = section[:section.index("\n## ", 5)]
    rows = re.findall(r"^\| (\w+) \|", section, re.M)
    return [r for r in rows if r != "State"]


def life_of_code(text, life):
    """{state: [next, ...]} of a life in states.c, in the order of its names."""
    names = re.search(rf"{life}_state_name\(.*?\}};", text, re.S).group()
    table = {name: [] for name in re.findall(r'"(\w+)"', names)}
    for state, following in re.findall(
            rf"\[TINKER__SVC_{life.upper()}_(\w+)\]"
            rf"\s*\[TINKER__SVC_{life.upper()}_(\w+)\] = true", text):
        table[state.lower()].append(following.lower())
    return table


def life_of_page(text, heading):
    section = text[text.index(f"### {heading}\n"):]
    section = re.split(r"\n##", section[4:])[0]
    rows = [[c.strip() for c in line.strip("|").split("|")]
            for line in section.splitlines() if line.startswith("|")]
    return {row[0]: [] if row[1] == "-" else row[1].split(", ")
            for row in rows[2:]}


def check_lives(root):
    page = (root / SERVICE).read_text(encoding="utf-8")
    code = (root / "local/service/core/states.c").read_text(encoding="utf-8")
    return [f"{SERVICE}: the table of {life} is not that of states.c"
            for life, heading in LIVES.items()
            if life_of_page(page, heading) != life_of_code(code, life)]


def check_states(root):
    page = (root / FLOW).read_text(encoding="utf-8")
    faults = []
    if table_of_page(page) != table_of_code(
            (root / "src/flow/op.c").read_text(encoding="utf-8")):
        faults.append(f"{FLOW}: the table of states is not that of op.c")
    if parts_of_page(page) != parts_of_code(
            (root / "src/flow/op.h").read_text(encoding="utf-8")):
        faults.append(f"{FLOW}: the states of a part are not those of op.h")
    return faults


def records_of_code(root):
    """{name: (number, files that name it)}, but for those that read all."""
    header = (root / "recovery/journal/record.h").read_text(encoding="utf-8")
    table = {name: (number, set())
             for name, number in re.findall(r"X\((\w+), (\d+)\)", header)}
    for path in sorted((root / "recovery").rglob("*.c")):
        text = path.read_text(encoding="utf-8")
        for name in re.findall(r"\bTINKER__REC_([A-Z_]+)\b", text):
            if name in table and path.parent.name != "journal":
                table[name][1].add(str(path.relative_to(root)))
    return table


def records_of_page(text):
    rows = re.findall(r"^\| ([A-Z_]+) \| (\d+) \| ([^|]*) \|", text, re.M)
    return {name: (number, set(re.findall(r"`([^`]+)`", files)))
            for name, number, files in rows}


def check_records(page, code):
    """The page has every record with its number, every file of the run that
    names it, and no file that doesn't."""
    faults = [f"{RECOVERY}: there is no record {name}"
              for name in sorted(set(page) - set(code))]
    for name, (number, files) in code.items():
        said, of = page.get(name, (None, set()))
        run = {f for f in files if f.startswith("recovery/run/")}
        if said != number or not run <= of <= files:
            faults.append(f"{RECOVERY}: record {name} is {number}, of "
                          f"{sorted(files)}; the page says {said}, {sorted(of)}")
    return faults


def events_of_code(root):
    """What recovery/ says to the program: the names in tinker__rec_say()."""
    found = set()
    for path in sorted((root / "recovery").rglob("*.c")):
        for call in re.findall(r"\btinker__rec_say\(([^;]*);",
                               path.read_text(encoding="utf-8")):
            found |= set(re.findall(r'"(\w+)"', call))
    return found


def events_of_page(text):
    section = text[text.index("\n## Events\n"):]
    section = section[:section.index("\n## ", 5)]
    first = re.findall(r"^\| ([^|]*) \|", section, re.M)
    return {name for cell in first for name in re.findall(r"`(\w+)`", cell)}


def check_events(page, code):
    return [f"{EVENTS}: the event {name} is " + (
        "not said" if name in page else "missing")
        for name in sorted(page ^ code)]


def check_itself(tree):
    """What is not there is found."""
    page = ROOT / "docs/architecture.md"
    for word in ("--no-such-flag", "tinker__no_such", "TINKER_NO_SUCH",
                 "src/flow/no_such.c", "no_such.c", "tinker_no_such()",
                 "docs/<x>/no-such.md"):
        assert check_word(tree, word, None, page), word
    for word in ("--state", "tinker__op_on", "TINKER_EFATAL", "src/flow/op.c",
                 "flow/op.c", "boot", "store.db", "tinker_client_dump()",
                 "architecture.md", "local/service/*/*.c"):
        assert not check_word(tree, word, None, page), word
    assert check_events({"a", "b"}, {"b", "c"}) == [
        f"{EVENTS}: the event a is not said", f"{EVENTS}: the event c is missing"]
    code = {"A": ("1", {"recovery/run/a.c"}), "B": ("2", set())}
    assert not check_records({"A": ("1", {"recovery/run/a.c"}),
                              "B": ("2", set())}, code)
    for wrong in ({"A": ("1", set()), "B": ("2", set())},
                  {"A": ("9", {"recovery/run/a.c"}), "B": ("2", set())},
                  {"A": ("1", {"recovery/run/a.c"})},
                  {"A": ("1", {"recovery/run/a.c"}),
                   "B": ("2", {"recovery/run/a.c"})}):
        assert len(check_records(wrong, code)) == 1, wrong
    script = ('for f in "$root"/{src/base,src/gone}/*.c \\\n'
              '  "$source/local/engine/sampler.c" "$root/bench/engine_$x.py"; do\n'
              '  rm "$root/build/x"')
    assert check_script(ROOT, "x", script) == [
        "x:1: there is no src/gone/*.c",
        "x:2: there is no local/engine/sampler.c"]
    assert "polling" in table_of_code((ROOT / "src/flow/op.c").read_text())
    wrong = (ROOT / FLOW).read_text().replace("done hand", "done abort")
    assert table_of_page(wrong) != table_of_page((ROOT / FLOW).read_text())
    lives = (ROOT / SERVICE).read_text()
    assert life_of_page(lives, "Session")["live"] == ["ending"]
    wrong = lives.replace("| live | ending |", "| live | ended |")
    assert life_of_page(wrong, "Session") != life_of_page(lives, "Session")


def main():
    tree = Tree(ROOT)
    check_itself(tree)
    faults = check_states(ROOT) + check_lives(ROOT)
    faults += check_records(
        records_of_page((ROOT / RECOVERY).read_text(encoding="utf-8")),
        records_of_code(ROOT))
    faults += check_events(
        events_of_page((ROOT / EVENTS).read_text(encoding="utf-8")),
        events_of_code(ROOT))
    count = 0
    for path in pages(ROOT):
        count += 1
        faults += check_page(tree, path)
    for path, text in scripts(ROOT):
        count += 1
        faults += check_script(ROOT, path, text)
    for fault in faults:
        print(fault)
    print(f"test_docs: {count} pages and scripts, {len(faults)} faults")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
