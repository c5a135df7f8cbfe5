"""check_layers must find a planted bad include of each kind, and no other."""
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
CASES = [
    ("src/base/a.c", '#include "flow/op.h"', "upward include"),
    ("src/wire/a.c", '#include "loop/loop.h"', "sideways include"),
    ("src/http/a.c", '#include "api/client.h"', "upward include"),
    ("src/session/a.c", '#include "flow/op.h"', "sideways include"),
    ("local/service/a.c", '#include "http/http.h"', "only the core"),
    ("local/cpu/a.c", '#include "service/store/store.h"', "may not see"),
    ("local/engine/a.c", '#include "cpu/cpu.h"', "may not see"),
    ("local/engine/a.c", '#include "cpu/kernels/kernels.h"', None),
    ("examples/a.c", '#include "base/mem.h"', "only <tinker/*.h>"),
    ("src/flow/a.c", '#include "http/http.h"', None),
    ("local/cpu/a.c", '#include "model/config.h"', None),
    ("examples/a.c", "#include <tinker/tinker.h>", None),
]


def check(root):
    run = subprocess.run(
        [sys.executable, ROOT / "scripts/check_layers", root],
        capture_output=True, text=True, check=False)
    return run.returncode, run.stdout


def main():
    failed = 0
    for name, line, want in CASES:
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / name
            path.parent.mkdir(parents=True)
            path.write_text(line + "\n", encoding="utf-8")
            code, out = check(folder)
        good = (code == 1 and want in out) if want else code == 0
        if not good:
            failed += 1
            print(f"{name}: {line}: exit {code}: {out}")
    code, out = check(ROOT)
    print(out, end="")
    failed += code != 0
    print(f"{len(CASES) + 1 - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
