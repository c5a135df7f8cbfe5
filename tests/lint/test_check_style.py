"""check_style must find each planted fault, and nothing in a clean file."""
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
LONG = "int tinker__f(void) {\n" + "  g();\n" * 90 + "}\n"
CASES = [
    (LONG, "function of 92 lines"),
    ("int a;\n" * 601, "file of 601 lines"),
    ("/* " + "x" * 90 + " */\n", "line of 96 columns"),
    ("void f(char *s) {\n  strcpy(s, s);\n}\n", "banned call: strcpy"),
    ("void *f(void) {\n  return malloc(1);\n}\n", "memory not through"),
    ("/* malloc(1) */\nint f(void) {\n  return g(\"free(\");\n}\n", None),
    ("int f(int a) {\n  if (a)\n    return 1;\n  return 0;\n}\n",
     "statement without braces"),
    ("int f(int a) {\n  while (a > 1 &&\n         g(a))\n    a--;\n"
     "  return 0;\n}\n", "a.c:3: statement without braces"),
    ("int f(int a) {\n  if (a) {\n    g();\n  } else\n    h();\n}\n",
     "statement without braces"),
    ("int f(int a) {\n  if (a) return 1;\n  while (a > 1 &&\n"
     "         g(a)) {\n    a--;\n  }\n  return 0;\n}\n", None),
    ("static const int table[] = {\n" + "  1,\n" * 200 + "};\n"
     "int f(void) {\n  return 0;\n}\n", None),
]


def main():
    failed = 0
    for text, want in CASES:
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "src/base/a.c"
            path.parent.mkdir(parents=True)
            path.write_text(text, encoding="utf-8")
            run = subprocess.run(
                [sys.executable, ROOT / "scripts/check_style", folder],
                capture_output=True, text=True, check=False)
        good = (run.returncode == 1 and want in run.stdout) if want \
            else run.returncode == 0
        if not good:
            failed += 1
            print(f"{text[:60]!r}: exit {run.returncode}: {run.stdout}")
    print(f"{len(CASES) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
