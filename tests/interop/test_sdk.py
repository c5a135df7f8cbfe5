"""The official SDK, unmodified, against tinker-locald.

  test_sdk.py LOCALD MODEL TEXT_MODEL VERSION

Runs every check that the interface of the installed release allows, each with
models of its own; MODEL is a small random one, TEXT_MODEL has a tokenizer.
VERSION is the release that is wanted."""
import os
import sys
import traceback
import warnings

os.environ["TINKER_TELEMETRY"] = "0"
os.environ["HF_HUB_OFFLINE"] = "1"
sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
warnings.simplefilter("ignore")
import locald
import tinker

import sdk_checks
import sdk_cli  # noqa: F401  they register their checks
import sdk_flags  # noqa: F401
import sdk_sample  # noqa: F401
import sdk_state  # noqa: F401
import sdk_train  # noqa: F401


def main():
    program, model, text_model, version = sys.argv[1:5]
    assert tinker.__version__ == version, tinker.__version__
    text_model = os.path.abspath(text_model)
    service = locald.Service(program, model, [
        "--listen", "127.0.0.1:0", "--model", f"{text_model}={text_model}"])
    key_file = os.path.join(service.dir, "key")
    with open(key_file, "w", encoding="ascii") as f:
        f.write("tml-local\n")
    service.flags += ["--key-file", key_file]
    bed = sdk_checks.Bed(
        service.start()["http"], text_model, lambda flags: locald.Service(
            program, model, ["--listen", "127.0.0.1:0", *flags]))
    passed, failed, out = 0, [], []
    for name, fn, why in sdk_checks.CHECKS:
        if why:
            out.append(name)
            print(f"  left out {name}: {why}")
            continue
        try:
            fn(bed)
            passed += 1
        except Exception:  # noqa: BLE001  one failure must not hide others
            failed.append(name)
            print(f"  FAILED {name}")
            traceback.print_exc(file=sys.stdout)
    code = service.stop()
    print(f"SDK {version}: {passed} checks passed, {len(failed)} failed, "
          f"{len(out)} left out")
    return 1 if failed or code != 0 else 0


if __name__ == "__main__":
    sys.exit(main())
