"""The house: imports go down only, the public surface is what it says, nothing heavy is imported early."""

import re
import subprocess
import sys
from importlib import import_module

import pytest
from conftest import ROOT
from importlinter.cli import lint_imports

import arithprobe


def test_the_layers_of_setup_cfg_hold(monkeypatch):
    monkeypatch.chdir(ROOT)
    assert lint_imports(config_filename="setup.cfg", no_cache=True) == 0


def test_the_public_surface_is_sorted_complete_and_importable():
    source = (ROOT / "arithprobe" / "__init__.py").read_text()
    for name in arithprobe.__all__:
        assert len(re.findall(rf"\b{name} as {name}\b", source)) == 1
        home = import_module(arithprobe._HOME[name])
        assert getattr(arithprobe, name) is getattr(home, name)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = arithprobe.nothing


@pytest.mark.slow
@pytest.mark.parametrize("words", ["import arithprobe", "from arithprobe import cli; cli.main(['fit', '--help'])"])
def test_help_imports_nothing_heavy(words):
    code = f"import sys; {words}; print([name for name in ('torch', 'lightning', 'numpy') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.splitlines()[-1] == "[]"


def test_modules_stay_small():
    long = {path.name: n for path in (ROOT / "arithprobe").rglob("*.py") if (n := path.read_text().count("\n")) > 260}
    assert long == {}
