"""The tutorial notebook runs, uses public names only, and says what its stored outputs show."""

import ast
import json
import os
import re
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT

import arithprobe

NOTEBOOK = ROOT / "scripts" / "notebooks" / "tutorial.ipynb"
ABSOLUTE = re.compile(r"(?<![\w./:\])}])(?:/(?!/)[\w.-]+){2,}|\b[A-Z]:\\\w|~/")
"""A path from the root, of a drive or of a home; not the end of a relative path or of an address."""
LARGEST = 600_000
HEADING = re.compile(r"^##+ ", re.MULTILINE)


def cells(kind: str, notebook: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    notebook = notebook or json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    return [cell for cell in notebook["cells"] if cell["cell_type"] == kind]


def source(cell: dict[str, Any]) -> str:
    return "".join(cell["source"])


def code_of(cell: dict[str, Any]) -> str:
    """The Python of a cell, without IPython's own commands."""
    return "\n".join(line for line in source(cell).splitlines() if not line.startswith("%"))


def texts(cell: dict[str, Any]) -> list[str]:
    """What a cell printed or showed, pictures aside."""
    found = []
    for output in cell["outputs"]:
        parts = [output["text"]] if "text" in output else []
        parts += [value for kind, value in output.get("data", {}).items() if kind.startswith("text/")]
        found += ["".join(part) for part in parts]
    return found


def kinds(cell: dict[str, Any]) -> list[list[str]]:
    """What a cell's outputs are, and how often."""
    return [[output["output_type"], *sorted(output.get("data", {}))] for output in cell["outputs"]]


def not_public(code: str) -> list[str]:
    """Whatever some code takes from this library that is not offered to users."""
    wrong = []
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            wrong += [name.name for name in node.names if name.name.split(".")[0] == "arithprobe"]
        elif isinstance(node, ast.Attribute) and re.fullmatch(r"_(?!_).*", node.attr):
            wrong.append(node.attr)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "arithprobe":
            wrong += [f"{node.module}.{name.name}" for name in node.names if not _is_public(node.module, name.name)]
    return wrong


def _is_public(module: str | None, name: str) -> bool:
    if module == "arithprobe":
        return name in arithprobe.__all__
    in_plotting = re.fullmatch(r"arithprobe\.plotting\.[a-z]\w*", str(module)) is not None
    return in_plotting and not name.startswith("_") and hasattr(import_module(str(module)), name)


def unclean(cell: dict[str, Any]) -> list[str]:
    """What a cell's outputs hold that a reader should not see: errors, warnings, paths of some machine."""
    wrong = [output["output_type"] for output in cell["outputs"] if output["output_type"] == "error"]
    wrong += [output["name"] for output in cell["outputs"] if output.get("name") == "stderr"]
    for text in texts(cell):
        wrong += re.findall(r"Traceback|\w*Warning: .*warn\(|it/s\]", text) + ABSOLUTE.findall(text)
    return wrong


def execute(notebook: Any, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run a notebook in this interpreter's kernel, in quick settings, with a folder as its working directory.

    Its figures are made and shown but stay white: to draw them has tests of its own. No garbage is collected.
    """
    nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed: no notebook can be run")
    pytest.importorskip("ipykernel", reason="ipykernel is not installed: there is no kernel to run a notebook in")
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(folder / "runtime"))
    (folder / "work").mkdir()
    startup = folder / "ipython" / "profile_default" / "startup"
    startup.mkdir(parents=True)
    (startup / "brief.py").write_text(
        "import gc\nfrom matplotlib.figure import Figure\ngc.disable()\nFigure.draw = lambda *_: None\n"
    )
    client = nbclient.NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(folder / "work")}}
    )
    settings = {"ARITHPROBE_QUICK": "1", "OMP_NUM_THREADS": "1", "IPYTHONDIR": str(folder / "ipython")}
    return client.execute(env=os.environ | settings)


@pytest.mark.slow(seconds=30)
def test_it_runs_in_quick_settings_and_warns_of_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed: no notebook can be run")
    done = execute(nbformat.read(NOTEBOOK, 4), tmp_path, monkeypatch)
    ran = cells("code", done)
    assert [cell["execution_count"] for cell in ran] == list(range(1, len(ran) + 1))
    assert {source(cell): unclean(cell) for cell in ran if unclean(cell)} == {}
    stored = {source(cell): kinds(cell) for cell in cells("code")}
    assert {source(cell): kinds(cell) for cell in ran} == stored  # its outputs are of this code
    bars = [text for cell in ran for text in texts(cell) if re.match(r"step (\d+) of \1: ", text)]
    assert len(bars) == 2  # a call with progress=True shows one bar, which goes to its end
    assert [path.name for path in (tmp_path / "work").iterdir()] == ["lightning_logs"]


@pytest.mark.slow
def test_a_failing_cell_fails_the_same_runner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed: no notebook can be run")
    failing = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("raise ValueError('on purpose')")])
    with pytest.raises(Exception, match="on purpose"):
        execute(failing, tmp_path, monkeypatch)


def test_it_imports_public_names_only() -> None:
    assert {source(cell): not_public(code_of(cell)) for cell in cells("code") if not_public(code_of(cell))} == {}


@pytest.mark.parametrize(
    "code",
    [
        "from arithprobe.analysis.probe.run import probe",
        "from arithprobe import __version__, cli",
        "from arithprobe.plotting.heatmap import _shown",
        "from arithprobe.plotting.heatmap import no_such_picture",
        "import arithprobe.analysis.probe.run as analysis",
        "report._surveys",
    ],
)
def test_what_is_not_public_is_seen(code: str) -> None:
    assert len(not_public(code)) >= 1
    assert not_public("from arithprobe import probe\nfrom arithprobe.plotting.heatmap import probe_heatmap") == []


def test_its_stored_outputs_are_of_one_run_from_top_to_bottom() -> None:
    ran = cells("code")
    assert [cell["execution_count"] for cell in ran] == list(range(1, len(ran) + 1))
    assert sum("image/png" in output.get("data", {}) for cell in ran for output in cell["outputs"]) >= 10
    assert NOTEBOOK.stat().st_size < LARGEST


def test_its_stored_outputs_are_clean() -> None:
    assert {source(cell): unclean(cell) for cell in cells("code") if unclean(cell)} == {}


@pytest.mark.parametrize(
    "output",
    [
        {"output_type": "error", "ename": "ValueError", "evalue": "", "traceback": []},
        {"output_type": "stream", "name": "stderr", "text": ["a warning"]},
        {"output_type": "stream", "name": "stdout", "text": ["of /home/someone/data/x.tsv\n"]},
        {"output_type": "display_data", "data": {"text/plain": ["PosixPath('/tmp/run/best.ckpt')"]}, "metadata": {}},
    ],
)
def test_an_unclean_output_is_seen(output: dict[str, Any]) -> None:
    assert len(unclean({"outputs": [output]})) >= 1
    clean = {"output_type": "stream", "name": "stdout", "text": ["lightning_logs/tutorial/x.tsv, 3 / 4, I/O\n"]}
    assert unclean({"outputs": [clean]}) == []


def test_the_model_that_learned_nothing_is_said_to_have() -> None:
    printed = [text for cell in cells("code") for text in texts(cell)]
    assert any(re.search(r"^REG-MODK: NOT LEARNED: ", text, re.MULTILINE) for text in printed)
    assert any(re.search(r"^REG-SUM: PARTLY LEARNED: ", text, re.MULTILINE) for text in printed)


def test_every_result_stands_beside_what_it_shows_and_what_not() -> None:
    sections = [""]
    for cell in json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]:
        text = source(cell)
        if cell["cell_type"] == "markdown":
            head, *rest = HEADING.split(text)
            sections[-1] += head
            sections += rest
        elif any({"image/png", "text/markdown"} & set(output.get("data", {})) for output in cell["outputs"]):
            sections[-1] += "RESULT"
    with_results = [section for section in sections if "RESULT" in section]
    assert len(with_results) >= 8
    missing = [
        section.splitlines()[0]
        for section in with_results
        if not ("**What this shows.**" in section and "**What it does not show.**" in section)
    ]
    assert missing == []


def test_its_links_lead_somewhere() -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", "\n".join(map(source, cells("markdown"))))
    assert links
    assert [link for link in links if not (NOTEBOOK.parent / link).exists()] == []


def test_it_asks_for_no_more_than_a_python_kernel() -> None:
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    assert notebook["metadata"] == {"kernelspec": kernel, "language_info": {"name": "python"}}
    assert all(cell["metadata"] == {} for cell in notebook["cells"])
