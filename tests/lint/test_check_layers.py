"""check_layers must find a planted bad include of each kind, and no other."""
import contextlib
import importlib.machinery
import importlib.util
import io
import pathlib
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
CASES = [
    ("src/base/a.c", '#include "flow/op.h"', "upward include"),
    ("src/wire/a.c", '#include "loop/loop.h"', "sideways include"),
    ("src/http/a.c", '#include "api/client.h"', "upward include"),
    ("src/session/a.c", '#include "flow/op.h"', "sideways include"),
    ("local/service/core/a.c", '#include "http/http.h"', "only the core"),
    ("local/engine/a.c", '#include "service/store/store.h"', "may not see"),
    ("local/engine/a.c", '#include "cpu/cpu.h"', "may not see"),
    ("local/engine/a.c", '#include "cpu/kernels/kernels.h"', None),
    ("examples/a.c", '#include "base/mem.h"', "only <tinker/*.h>"),
    ("src/wire/a.c", '#include "db/db.h"', "not part of libtinker"),
    ("src/api/a.c", '#include "yaml/yaml.h"', "not part of libtinker"),
    ("src/db/a.c", '#include "wire/body.h"', "sideways include"),
    ("src/yaml/a.c", '#include "db/db.h"', "not part of libtinker"),
    ("src/yaml/a.c", '#include "http/http.h"', "upward include"),
    ("src/model/a.c", '#include "pack/pack.h"', "sideways include"),
    ("src/pack/a.c", '#include "text/bpe.h"', "sideways include"),
    ("src/api/a.c", '#include "checkpoint/store.h"', "upward include"),
    ("src/checkpoint/a.c", '#include "http/http.h"', "may not see http"),
    ("src/checkpoint/a.c", '#include "route/route.h"', "upward include"),
    ("src/route/a.c", '#include "api/client.h"', "may not see api"),
    ("local/engine/a.c", '#include "db/db.h"', "may not see db"),
    ("local/cpu/a.c", '#include "wire/body.h"', "only engine/engine.h"),
    ("local/mlx/a.c", '#include "engine/scheduler.h"', "only engine/engine.h"),
    ("local/mlx/a.cpp", '#include "wire/body.h"', "only engine/engine.h"),
    ("local/mlx/a.c", '#include "cpu/kernels/kernels.h"',
     "only engine/engine.h"),
    ("local/external/a.c", '#include "service/core/core.h"', "may not see"),
    ("recovery/a.c", '#include "wire/body.h"', "only <tinker/*.h>, base/, db/"),
    ("recovery/a.c", '#include "service/store/store.h"', "recovery/ may"),
    ("recovery/policy/a.c", '#include "db/db.h"', "policy may not see db"),
    ("recovery/policy/a.c", '#include "journal/journal.h"',
     "policy may not see journal"),
    ("tools/tinkerctl/a.c", '#include "db/db.h"', "<tinker/*.h>, base/, yaml/"),
    ("tools/tinkerctl/a.c", '#include "engine/engine.h"', "tools/ may"),
    # The folders of the service: upwards, and what only boot may see.
    *[(f"local/service/{a}/a.c", f'#include "service/{b}/b.h"',
       f"service/{a} may not see service/{b}")
      for a, b in [("fault", "boot"), ("tinker", "boot"), ("run", "tinker"),
                   ("calls", "run"), ("parse", "calls"), ("http", "parse"),
                   ("core", "http"), ("store", "core"), ("store", "boot"),
                   ("tinker", "fault"), ("run", "fault"), ("calls", "fault"),
                   ("http", "fault"), ("core", "fault"), ("fault", "run"),
                   ("fault", "tinker"), ("openai", "tinker"),
                   ("tinker", "admin"), ("admin", "openai")]],
    *[(f"local/service/{a}/a.c", f'#include "service/{b}/b.h"', None)
      for a, b in [("boot", "fault"), ("boot", "tinker"), ("boot", "store"),
                   ("fault", "calls"), ("fault", "http"), ("tinker", "run"),
                   ("admin", "core"), ("run", "calls"), ("calls", "parse"),
                   ("parse", "http"), ("http", "core"), ("core", "store"),
                   ("store", "store")]],
    ("src/flow/a.c", '#include "http/http.h"', None),
    ("src/pack/a.c", '#include "model/folder.h"', None),
    ("src/checkpoint/a.c", '#include "pack/pack.h"', None),
    ("src/route/a.c", '#include "checkpoint/store.h"', None),
    ("src/db/a.c", '#include "base/mem.h"', None),
    ("local/service/store/a.c", '#include "db/db.h"', None),
    ("local/mlx/a.c", '#include "engine/engine.h"', None),
    ("local/cpu/a.c", '#include "engine/pick.h"', None),
    ("local/mlx/a.c", '#include "model/config.h"', None),
    ("recovery/a.c", '#include "db/db.h"', None),
    ("recovery/daemon/a.c", '#include "yaml/yaml.h"', None),
    ("recovery/daemon/a.c", '#include "policy/policy.h"', None),
    ("recovery/policy/a.c", '#include "yaml/yaml.h"', None),
    ("recovery/policy/a.c", '#include "policy/policy.h"', None),
    ("src/yaml/a.c", '#include "base/mem.h"', None),
    ("tools/tinkerctl/a.c", '#include "base/mem.h"', None),
    ("local/cpu/a.c", '#include "model/config.h"', None),
    ("examples/a.c", "#include <tinker/tinker.h>", None),
]


def load():
    """The script as a module, so that each case need not start a Python."""
    sys.dont_write_bytecode = True
    loader = importlib.machinery.SourceFileLoader(
        "check_layers", str(ROOT / "scripts/check_layers"))
    module = importlib.util.module_from_spec(
        importlib.util.spec_from_loader("check_layers", loader))
    loader.exec_module(module)
    return module


CHECK_LAYERS = load()


def check(root):
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        code = CHECK_LAYERS.main(pathlib.Path(root))
    return code, out.getvalue()


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
