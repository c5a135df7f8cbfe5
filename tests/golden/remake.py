"""Makes the golden numbers anew and compares them with the committed ones.

usage: remake.py      (PyPI: as in tests/interop/requirements-long.txt)

Weights of models and adapters must be equal, numbers within 1e-5: of 1 or of
themselves in JSON, of their tensor's largest in safetensors.
"""
import json
import pathlib
import subprocess
import sys
import tempfile

from safetensors.torch import load_file

HERE = pathlib.Path(__file__).parent
TOLERANCE = 1e-5
MAKERS = {"models": "make_models.py", "losses": "make_losses.py",
          "skyrl/d/exact": "skyrl/make_exact.py"}
NUMBERS = ("logprobs.json", "steps.json", "norms.json")


def differences(a, b):
    """Of every two numbers in two JSON values of the same shape."""
    if isinstance(a, dict):
        assert a.keys() == b.keys(), (a.keys(), b.keys())
        for key in a:
            yield from differences(a[key], b[key])
    elif isinstance(a, list):
        assert len(a) == len(b), (a, b)
        for x, y in zip(a, b):
            yield from differences(x, y)
    else:
        yield abs(a - b) / max(1, abs(a))


def compare_json(old, new):
    return max(differences(json.loads(old.read_text()),
                           json.loads(new.read_text())))


def compare_tensors(old, new):
    old, new = load_file(old), load_file(new)
    assert old.keys() == new.keys()
    return max(float((old[k].double() - new[k].double()).abs().max()
                     / old[k].double().abs().max()) for k in old)


def compare(part, new):
    """Returns how many files it has compared."""
    count = 0
    for path in sorted((HERE / part).rglob("*")):
        tensors = path.suffix == ".safetensors"
        if not tensors and path.name not in NUMBERS:
            continue
        other = new / path.relative_to(HERE / part)
        how = compare_tensors if tensors else compare_json
        off = how(path, other)
        weights = part == "models" and "model" in path.name
        assert off <= (0 if weights else TOLERANCE), (path, off)
        print(f"{path.relative_to(HERE)}: {off:.2g}")
        count += 1
    return count


def main():
    count = 0
    with tempfile.TemporaryDirectory() as folder:
        for part, maker in MAKERS.items():
            new = pathlib.Path(folder) / part
            subprocess.run([sys.executable, HERE / maker, new], check=True,
                           stdout=subprocess.DEVNULL)
            count += compare(part, new)
    print(f"{count} files compared")
    assert count > 100


if __name__ == "__main__":
    main()
