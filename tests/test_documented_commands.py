"""Every command of README.md and docs/ runs: what is documented is what is tested."""

import re
import sys
import traceback
from pathlib import Path

import pytest
from conftest import ROOT
from documented import PageError, make_workspace, mentions, pages, parse, run_page
from documented_runs import call
from documented_settings import quick
from micro import one_thread  # noqa: F401

from arithprobe.analysis.study import STUDIES
from arithprobe.cli import _COMMANDS

pytestmark = [
    # Both notebook configurations split by rows, so a few validation pairs are training pairs.
    pytest.mark.filterwarnings("ignore::arithprobe.errors.SharedRowsWarning"),
    # In the first rows of a file are few batches; the documented Trainer logs as often as Lightning does by default.
    pytest.mark.filterwarnings("ignore:The number of training batches"),
]
TRAINED = ("fit", "validate", "test", "predict")


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """``lightning_logs/NAME`` of a short run of a configuration, each made once."""
    made = {}

    def of(name: str) -> Path:
        if name not in made:
            made[name] = make_workspace(tmp_path_factory.mktemp("finished") / "workspace")
            with pytest.MonkeyPatch.context() as patch:
                patch.chdir(made[name])
                done = call(["arithprobe", "fit", "--config", f"configs/{name}.yaml"])
            assert done.code == 0, done.err
        return made[name] / "lightning_logs" / name

    return of


@pytest.mark.slow
@pytest.mark.parametrize("path", pages(), ids=lambda path: str(path.relative_to(ROOT)))
def test_every_block_of_a_page_runs(path, tmp_path, finished):
    page = parse(path)
    (tmp_path / "messages").mkdir()
    workspace = make_workspace(tmp_path / "workspace", page.needs, finished)
    assert run_page(page, workspace, tmp_path / "messages") == sum(block.is_run for block in page.blocks)


def test_the_pages_are_found_and_have_blocks_that_run():
    found = {str(path.relative_to(ROOT)): parse(path) for path in pages()}
    assert {"README.md", "docs/recipes.md"} < set(found)
    assert sum(block.is_run for page in found.values() for block in page.blocks) > 20


@pytest.mark.parametrize("path", pages(), ids=lambda path: str(path.relative_to(ROOT)))
def test_no_block_that_runs_sets_anything_up_or_tests(path):
    """A run of the tests would start itself."""
    for block in parse(path).blocks:
        if block.is_run and block.language == "bash":
            assert not re.search(r"\b(make|pip|pytest|venv)\b(?!/)", re.sub(r"#.*", "", block.text)), block.line


@pytest.mark.slow
def test_every_command_that_is_only_named_exists_and_has_the_options_named():
    helped = {}
    for path in pages():
        for line, command, options in mentions(parse(path)):
            where = f"{path.relative_to(ROOT)}:{line}: arithprobe {command}"
            assert command in (*_COMMANDS, *STUDIES), where
            known = {"--help", "--help_all"} if command in TRAINED else {"--help"}
            for option in set(options) - known:
                if command not in helped:
                    words = ["arithprobe", command, "--help_all" if command in TRAINED else "--help"]
                    helped[command] = set(re.findall(r"--[\w.]+", call(words).out))
                assert option in helped[command], f"{where} has no {option}"


def written(tmp_path, text):
    """A page."""
    page = tmp_path / "page.md"
    page.write_text(text)
    return page


@pytest.fixture
def run_text(tmp_path):
    """Run a page of this text; the folder it ran in."""

    def of(text: str) -> Path:
        for name in ("workspace", "messages"):
            (tmp_path / name).mkdir()
        run_page(parse(written(tmp_path, text)), tmp_path / "workspace", tmp_path / "messages")
        return tmp_path / "workspace"

    return of


def blocks(tmp_path, text):
    return parse(written(tmp_path, text)).blocks


def test_markers_say_what_is_not_run_and_what_is_written(tmp_path):
    text = (
        "```bash\nls\n```\n\n<!-- not run: a server -->\n```bash\nls\n```\n"
        "<!-- file: a/b.yaml -->\n```yaml\na: 1\n```\n```yaml\na: 2\n```\n```text\nls\n```\n<!-- needs: reg_modk -->\n"
    )
    page = parse(written(tmp_path, text))
    said = [(block.is_run, block.reason, block.file, block.line) for block in page.blocks]
    assert said == [
        (True, None, None, 2),
        (False, "a server", None, 7),
        (False, None, "a/b.yaml", 11),
        (False, None, None, 14),
        (False, None, None, 17),
    ]
    assert page.needs == ("reg_modk",)


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("<!-- notrun: a server -->\n```bash\nls\n```\n", 1, "no marker 'notrun: a server'"),
        ("<!-- not run: -->\n```bash\nls\n```\n", 1, "no marker 'not run:'"),
        ("<!-- not run: a server -->\n\n```bash\nls\n```\n", 1, "stands directly above no block"),
        ("\n<!-- file: a.yaml -->\ntext\n", 2, "stands directly above no block"),
        ("text <!-- needs: reg_summ -->\n", 1, "needs reg_summ; known: reg_sum, reg_modk"),
        ("\n```bash\nls\n", 2, "has no end"),
        ("\n```sh\nls\n```\n", 2, "write 'bash', which is run"),
        ("\n```py\n1\n```\n", 2, "write 'python', which is run"),
    ],
)
def test_a_block_cannot_be_left_out_by_mistake(tmp_path, text, line, message):
    with pytest.raises(PageError, match=rf"page\.md:{line}: .*{re.escape(message)}"):
        parse(written(tmp_path, text))


def test_a_fence_ends_at_one_as_long_and_blocks_in_blocks_are_text(tmp_path):
    text = "````markdown\n```bash\nmake test\n```\n````\n~~~bash\n```\nls\n~~~\n"
    first, second = blocks(tmp_path, text)
    assert (first.language, first.text, first.is_run) == ("markdown", "```bash\nmake test\n```\n", False)
    assert (second.language, second.text, second.line) == ("bash", "```\nls\n", 7)


def test_a_block_in_a_list_loses_its_indentation_only(tmp_path):
    text = "* item\n\n  <!-- file: a.py -->\n  ```python\n  if x:\n      y\n\n  ```\n"
    (block,) = blocks(tmp_path, text)
    assert (block.text, block.file) == ("if x:\n    y\n\n", "a.py")


@pytest.mark.slow
def test_lines_mean_what_they_mean_to_a_shell(run_text):
    folder = run_text(
        "```bash\n"
        "mkdir -p a/b && cd a/b   # where the rest is\n"
        'WIDTH=3 arithprobe \\\n    --version > "one word.txt"\n'
        "time .venv/bin/arithprobe --version | grep -c arithprobe > count.txt\n"
        "for n in 1 2; do python -m arithprobe --version >> twice.txt; done\n"
        "```\n"
    )
    found = {path.name: path.read_text().split() for path in (folder / "a" / "b").iterdir()}
    assert list(found["one word.txt"]) == found["twice.txt"][:2] and found["one word.txt"][0] == "arithprobe"
    assert (len(found["twice.txt"]), found["count.txt"]) == (4, ["1"])


def test_a_module_that_a_page_writes_is_its_own(run_text):
    """The names of modules are those of the process; the next page may write another one."""
    run_text("<!-- file: mine_of_a_page.py -->\n```python\nx = 1\n```\n```python\nimport mine_of_a_page\n```\n")
    assert "mine_of_a_page" not in sys.modules and "json" in sys.modules  # the control


@pytest.mark.slow
def test_python_blocks_share_names_and_files_lie_where_they_run(run_text):
    folder = run_text(
        "<!-- file: deep/mine.txt -->\n```text\nrows\n```\n```python\nfrom pathlib import Path\nkept = 2\n```\n"
        "```bash\ncat deep/mine.txt > copy.txt\n```\n"
        '```python\nPath("out.txt").write_text(Path("copy.txt").read_text() * kept)\n```\n'
    )
    assert (folder / "out.txt").read_text() == "rows\nrows\n"


@pytest.mark.slow
@pytest.mark.parametrize(
    "line", ["make test", "make test || true", "make test | cat", "x=$(make test)", "if make; then ls; fi"]
)
def test_an_unknown_command_fails_the_page_wherever_it_stands(run_text, line):
    with pytest.raises(PageError, match=r"page\.md:4: unknown command 'make'; known: arithprobe, .*mkdir"):
        run_text(f"text\n```bash\nls\n{line}\n```\n")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("arithprobe fti", "exit code 2\n(.*\n)*arithprobe: error: no command 'fti'; did you mean 'fit'"),
        ("arithprobe probe --tragets x", "unknown option --tragets; did you mean --targets"),
        ("cat nowhere.txt", "exit code 1\n(.*\n)*.*nowhere.txt"),
        ("ls $NOT_SET", "NOT_SET: unbound variable"),
        ("python elsewhere.py", "scripts/NAME.py and -m arithprobe only"),
    ],
)
def test_a_command_that_fails_is_named_with_its_line(run_text, line, message):
    with pytest.raises(PageError, match=rf"page\.md:4: (.*\n)*.*{message}"):
        run_text(f"text\n```bash\nls\n{line}\nls\n```\n")


def test_what_python_raises_points_into_the_page(run_text):
    with pytest.raises(ZeroDivisionError) as raised:
        run_text("text\n\n```python\nx = 0\n1 / x\n```\n")
    last = traceback.extract_tb(raised.value.__traceback__)[-1]
    assert (Path(last.filename).name, last.lineno) == ("page.md", 5)


@pytest.mark.slow
def test_a_long_script_is_asked_whether_it_has_the_options(tmp_path, monkeypatch):
    monkeypatch.chdir(make_workspace(tmp_path / "workspace"))
    assert call(["python", "scripts/train_recipes.py", "--jobs", "2", "--threads", "1"]).code == 0
    unknown, value = (
        call(["python", "scripts/train_recipes.py", *words]) for words in (["--job_s"], ["--jobs", "two"])
    )
    assert unknown.code == 2 and "scripts/train_recipes.py has no option --job_s" in unknown.err
    assert value.code == 2 and "invalid int value: 'two'" in value.err
    assert not Path("lightning_logs").exists()


def test_quick_settings_come_after_what_is_documented_and_leave_it():
    words = ["fit", "--config", "a.yaml", "--model.d_model", "64"]
    ((*given,),) = quick(words)
    assert given[: len(words)] == words and "--trainer.max_steps" in given
    ((*given,),) = quick(["probe", "--targets", "x10"])
    assert given.count("--targets") == 1 and "--positions" in given  # only what is not named is left out
    assert quick(["fit", "--help"]) == [["fit", "--help"]]


def test_of_a_sweep_the_whole_grid_is_checked_and_one_trial_run(tmp_path):
    config = tmp_path / "sweep.yaml"
    config.write_text(
        "set: {model.lr: 0.001, data.recipe: {task: mod, rows: 6500}}\nrules: {model.d_ff: 4 * model.d_model}\n"
        "grid: [{model.n_layers: [1, 2], model.d_model: [128, 256], seed_everything: [3, 4]}, {model.n_layers: [4]}]\n"
    )
    words = ["sweep", "--config", str(config)]
    checked, trial = quick(words)
    assert checked == [*words, "--dry_run"] and trial[:3] == words
    assert trial[trial.index("--grid") + 1] == '{"model.n_layers": [1], "model.d_model": [16], "seed_everything": [3]}'
    settings = trial[trial.index("--set") + 1]
    assert '"model.lr": 0.001' in settings and '"rows": 1500' in settings and "model.d_ff" not in settings
    assert quick([*words, "--dry_run"]) == [[*words, "--dry_run"]]
