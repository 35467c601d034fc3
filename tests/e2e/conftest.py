"""What the end-to-end tests share: the program under test and how to run it."""
import os
import pathlib
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]


def pytest_configure(config):
    config.addinivalue_line("markers", "sanitize: run again with the sanitizer builds")


def find_gaufre():
    named = os.environ.get("GAUFRE_BIN")
    if named:
        return os.path.abspath(named)
    for folder in ("build/gcc", "build/release", "build"):
        path = ROOT / folder / "src/cmd/gaufre"
        if path.exists():
            return str(path)
    raise RuntimeError("no gaufre to test: build one with make, or set GAUFRE_BIN")


@pytest.fixture(scope="session")
def gaufre():
    """Path of the program."""
    return find_gaufre()


@pytest.fixture
def home(tmp_path):
    """An empty GAUFRE_HOME."""
    path = tmp_path / "home"
    path.mkdir()
    return path


@pytest.fixture
def env(home):
    """An environment in which nothing of this machine's settings is left."""
    keep = {k: v for k, v in os.environ.items()
            if k in ("PATH", "LANG", "TMPDIR") or k.endswith("SAN_OPTIONS")}
    return keep | {"HOME": str(home), "GAUFRE_HOME": str(home), "PIP_CONFIG_FILE": "/dev/null",
                   "PIP_INDEX_URL": "http://127.0.0.1:9/simple",
                   "HF_ENDPOINT": "http://127.0.0.1:9"}


@pytest.fixture
def cli(gaufre, env):
    """cli("list", "--json") -> CompletedProcess with text output."""

    def run(*args, timeout=60, **more):
        more.setdefault("env", env)
        if "input" not in more:
            more.setdefault("stdin", subprocess.DEVNULL)
        return subprocess.run([gaufre, *map(str, args)], capture_output=True, text=True,
                              timeout=timeout, check=False, **more)

    return run


def model_file(name):
    """Path of a real model that tools/test.sh fetched; skips where no source could be reached."""
    folder = os.environ.get("GAUFRE_TEST_MODELS")
    path = pathlib.Path(folder or "/nonexistent") / f"{name}.gguf"
    if not path.exists():
        pytest.skip(f"the model {name} could not be fetched")
    return path


@pytest.fixture(scope="session")
def smollm2():
    return model_file("smollm2-135m")


@pytest.fixture(scope="session")
def gemma3():
    return model_file("gemma3-270m")


from serving import server, start  # noqa: E402,F401  fixtures; it needs what is above
