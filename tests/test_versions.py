"""The bounds of pyproject.toml are those that are tried, and cover what is imported."""

import ast
import sys
import tomllib
from importlib.metadata import packages_distributions

from conftest import ROOT
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = {extra: [Requirement(line) for line in lines] for extra, lines in PROJECT["optional-dependencies"].items()}
NEEDED = [Requirement(line) for line in PROJECT["dependencies"]]
DIRECT = [*NEEDED, *(one for lines in EXTRAS.values() for one in lines)]


def pins(name):
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    pinned = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(package): Version(version) for package, version in pinned}


def lower_bound(requirement):
    (bound,) = (one.version for one in requirement.specifier if one.operator == ">=")
    return Version(bound)


def undeclared(sources, declared):
    """The packages that the sources import, beside the standard library and our own, and that nothing declares."""
    packages = {
        name.partition(".")[0]
        for source in sources
        for node in ast.walk(ast.parse(source))
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module]
            if isinstance(node, ast.ImportFrom) and not node.level
            else []
        )
    } - {*sys.stdlib_module_names, "arithprobe"}
    owners = packages_distributions()
    return {
        package
        for package in packages
        if not {canonicalize_name(owner) for owner in owners.get(package, [package])} & declared
    }


def test_the_oldest_set_is_the_lower_bounds():
    assert pins("constraints-oldest.txt") == {canonicalize_name(one.name): lower_bound(one) for one in DIRECT}


def test_the_versions_tested_together_are_within_the_bounds():
    pinned = pins("constraints.txt")
    for one in DIRECT:
        assert pinned[canonicalize_name(one.name)] in one.specifier, one


def test_every_import_is_declared():
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "arithprobe").rglob("*.py")]
    declared = {
        canonicalize_name(one.name) for one in [*NEEDED, *EXTRAS["ray"], *EXTRAS["notebook"], *EXTRAS["completion"]]
    }
    assert undeclared(sources, declared) == set()
    assert undeclared(sources, declared - {"filelock"}) == {"filelock"}  # the control
