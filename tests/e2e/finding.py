"""The program under test and the models that it is tested with."""
import os
import pathlib

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]


def find_gaufre():
    named = os.environ.get("GAUFRE_BIN")
    if named:
        return os.path.abspath(named)
    for folder in ("build/gcc", "build/release", "build"):
        path = ROOT / folder / "src/cmd/gaufre"
        if path.exists():
            return str(path)
    raise RuntimeError("no gaufre to test: build one with make, or set GAUFRE_BIN")


def model_file(name):
    """Path of a real model that tools/test.sh fetched; skips where no source could be reached."""
    folder = os.environ.get("GAUFRE_TEST_MODELS")
    path = pathlib.Path(folder or "/nonexistent") / f"{name}.gguf"
    if not path.exists():
        pytest.skip(f"the model {name} could not be fetched")
    return path
