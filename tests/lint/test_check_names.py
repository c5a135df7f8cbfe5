"""check_names must find a planted fault of each kind, and no other."""
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
CHECK = ROOT / "scripts/check_names"
# Files by name, and what must be said of them; None = nothing.
CASES = [
    ({"src/wire/a.h": "typedef enum { A } tinker__a_t;\n",
      "src/model/a.h": "typedef enum {\n  B\n} tinker__a_t;\n"},
     "type tinker__a_t is defined in src/model/a.h and src/wire/a.h"),
    ({"src/wire/a.h": "typedef struct tinker__a_s tinker__a_t;\n",
      "local/cpu/a.c": "typedef int (*tinker__a_t)(int x);\n"},
     "type tinker__a_t is defined in"),
    ({"src/wire/a.h": "struct tinker__a_s {\n  int a;\n};\n",
      "src/flow/b.c": "typedef struct tinker__a_s {\n  int b;\n} b_t;\n"},
     "tag tinker__a_s is defined in"),
    ({"src/wire/a.h": "enum { TINKER__A, TINKER__B = 2 };\n",
      "src/flow/b.h": "enum b_e {\n  TINKER__C,\n  TINKER__B\n};\n"},
     "enumerator TINKER__B is defined in"),
    ({"src/wire/a.h": "#define TINKER__MAX 1\n",
      "recovery/b.h": "#define TINKER__MAX 2\n"},
     "macro TINKER__MAX is defined in"),
    ({"local/service/a.h": "int tinker__a(void);\n"},
     "local/service/a.h: tinker__a lacks the prefix"),
    ({"local/cpu/a.h": "typedef struct a_s tinker__svc_a_t;\n"},
     "local/cpu/a.h: tinker__svc_a_t lacks the prefix"),
    ({"recovery/a.h": "void tinker__svc_a(int x);\n"},
     "recovery/a.h: tinker__svc_a lacks the prefix"),
    ({"src/wire/a.h": "typedef struct tinker__a_s tinker__a_t;\n"
                      "/* struct tinker__b_s { */\n",
      "src/wire/a.c": "struct tinker__a_s {\n  tinker__b_t b;\n};\n"
                      "static int f(tinker__a_t *a);\n",
      "src/flow/b.h": "struct tinker__b_s { int b; };\n"
                      "enum { TINKER__B = 1 };\n#define TINKER__C 1\n",
      "local/service/a.h": "int tinker__svc_a(tinker__a_t *a);\n",
      "local/engine/a.h": "int tinker__eng_a(tinker__a_t *a);\n"},
     None),
]


def run(*args):
    out = subprocess.run([sys.executable, CHECK, *args],
                         capture_output=True, text=True, check=False)
    return out.returncode, out.stdout + out.stderr


def plant(folder, files):
    for name, text in files.items():
        path = pathlib.Path(folder) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def archive(folder, name, text):
    source = pathlib.Path(folder) / f"{name}.c"
    source.write_text(text, encoding="utf-8")
    subprocess.run(["cc", "-c", source.name], cwd=folder, check=True)
    subprocess.run(["ar", "rc", f"lib{name}.a", f"{name}.o"], cwd=folder,
                   check=True)
    return source.with_name(f"lib{name}.a")


def archives_that_share_a_name():
    with tempfile.TemporaryDirectory() as folder:
        one = archive(folder, "one", "int tinker__a; static int b; int *c=&b;")
        two = archive(folder, "two", "int tinker__b; static int b; int *d=&b;")
        three = archive(folder, "three", "int tinker__a(void) { return 1; }")
        code, out = run("--root", folder, one, two)
        if code != 0:
            return f"two archives without a common name: {out}"
        code, out = run("--root", folder, one, two, three)
        want = "symbol tinker__a is defined in libone.a and libthree.a"
        return None if code == 1 and want in out else f"planted symbol: {out}"


def main():
    failed = []
    for files, want in CASES:
        with tempfile.TemporaryDirectory() as folder:
            plant(folder, files)
            code, out = run("--root", folder)
        if not ((code == 1 and want in out) if want else code == 0):
            failed.append(f"{files}: exit {code}: {out}")
    failed += filter(None, [archives_that_share_a_name()])
    print("\n".join(failed))
    print(f"{len(CASES) + 1 - len(failed)} passed, {len(failed)} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
