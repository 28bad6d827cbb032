"""Emergence: three cleared validations in a row at one site; live, against the run's own beginning, and over runs."""

import csv
import json
import math
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from conftest import SMALL, assert_refused, read_jsonl
from lightning.pytorch import Callback, Trainer, seed_everything
from short_fits import command, files_in, fit_words, run_of
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from arithprobe.analysis.forward import random_init_twin
from arithprobe.behaviour import Behaviour
from arithprobe.callbacks import EmergenceProbing
from arithprobe.data.datamodule import ArithmeticDataModule
from arithprobe.data.dataset import ArithmeticDataset
from arithprobe.data.sampling import DataRecipe
from arithprobe.errors import ArithprobeError
from arithprobe.models.checkpoints import LoadedModel
from arithprobe.models.objectives import ScaledMSE
from arithprobe.models.transformer import TinyTransformer
from arithprobe.plotting.emergence import emergence_map, emergence_runs
from arithprobe.plotting.style import GREY
from arithprobe.probes.drift import DriftReadings
from arithprobe.probes.emergence import Emergence, Readings, emergences, in_order
from arithprobe.probes.emergence_runs import over_runs
from arithprobe.probes.emergence_survey import watched
from arithprobe.probes.survey import Split
from arithprobe.probes.tags import Tag
from arithprobe.probes.targets import target_values
from arithprobe.said.content import Table
from arithprobe.training.module import ArithmeticModule

pytestmark = pytest.mark.slow(seconds=0.2)

NAN = math.nan
PROBE = ("--trainer.callbacks", "EmergenceProbing")
DRIFT = [DriftReadings(4, torch.zeros(19, 1, 1, dtype=torch.float64))]  # five validations compared: nothing drifts
OFTEN = ("--trainer.val_check_interval", 4, "--trainer.max_epochs", 2)  # 2 validations an epoch of 11 batches


def history(*sites, names=("v",)):
    """Validations at steps 10, 20, ... of one variable: at each site '1' is cleared, '0' is not, 'n' is NaN."""
    rows = []
    for number, cells in enumerate(zip(*sites, strict=True), start=1):
        r2 = torch.tensor([[{"1": 0.5, "0": 0.1, "n": NAN}[cell] for cell in cells]], dtype=torch.float64)
        of = tuple(f"site{index}" for index in range(len(sites)))
        bar = torch.full_like(r2, 0.2)
        rows.append(Readings(10 * number, names, of, r2, r2 - 0.1, torch.full_like(r2, 0.04), bar))
    return rows


def emerged(*sites):
    (found,) = emergences(history(*sites))
    return found.step, found.site


def test_three_in_a_row_count_from_the_first_and_two_do_not():
    assert emerged("0011100") == (30, "site0")
    assert emerged("0011011") == (None, None)
    assert emerged("11") == (None, None)
    assert emerged("111") == (10, "site0")


def test_the_three_are_at_one_site():
    assert emerged("110000", "001100", "000011") == (None, None)
    assert emerged("110000", "001110", "000011") == (30, "site1")


def test_the_earliest_site_counts_and_of_equals_the_first_in_the_stream():
    assert emerged("000111", "011100") == (20, "site1")
    assert emerged("000111", "000111") == (40, "site0")


def test_what_cannot_be_scored_never_clears():
    assert emerged("11n11") == (None, None)
    assert emerged("11n111") == (40, "site0")
    (found,) = emergences(history("nnn"))
    assert math.isnan(found.last_r2) and found.last_site is None and not found.cleared


def test_what_emerged_can_be_lost_and_the_record_says_so():
    (lost,), (kept,) = emergences(history("1110")), emergences(history("0111"))
    assert (lost.step, lost.r2, lost.last_r2, lost.cleared) == (10, 0.5, 0.1, False)
    assert (kept.step, kept.r2, kept.last_r2, kept.cleared) == (20, 0.5, 0.5, True)
    assert emergences([]) == []


@pytest.mark.parametrize(
    ("name", "value"), [("p", 0.06), ("r2", 0.0), ("low", 0.2), ("p", NAN), ("low", NAN), ("untrained", NAN)]
)
def test_every_condition_is_needed(name, value):
    (whole,) = history("1")
    assert bool(whole.cleared)
    vars(whole)[name].fill_(value)
    assert not bool(whole.cleared)


def test_runs_side_by_side_where_never_is_later_than_any_step():
    def one(name, step):
        return Emergence(name, step, None if step is None else "final", 0.5, 0.5, "final", True, compared=True)

    runs = [
        [one("sum", 10), one("residuemod7f1", None), one("residuemod7f2", 30)],
        [one("sum", None), one("residuemod7f1", 20), one("residuemod7f2", None)],
        [one("sum", 50), one("x", None)],
    ]
    found = {row.variable: row for row in over_runs(runs)}
    assert found["sum"].known == [10, 50, math.inf]
    assert (found["sum"].median, found["sum"].count) == (50, 2)
    assert found["residuemod7 (first)"].known == [20, 30]
    assert found["residuemod7f1"].median == math.inf
    assert math.isnan(found["x"].steps[0]) and found["x"].count == 0
    assert next(iter(found)) == "residuemod7 (first)"


MODULAR = ("--data.recipe.task", "mod", "--data.recipe.modulus", 7)


@pytest.fixture(scope="module")
def modular(tmp_path_factory):
    return files_in(tmp_path_factory.mktemp("modular"), task="mod", modulus=7)


class Observed(NamedTuple):
    """What a fit left."""

    folder: Path
    out: str


@pytest.fixture(scope="module")
def observed(modular, tmp_path_factory):
    """A fit with four validations and without other untrained networks than its own beginning."""
    folder = tmp_path_factory.mktemp("observed")
    words = [*fit_words(modular, folder), *MODULAR, *OFTEN, *PROBE, "--trainer.callbacks.twins", 0]
    code, out, err = command(*words)
    assert code == 0, err
    return Observed(run_of(folder), out)


class Plant(Callback):
    """From a validation on (0 is the first), writes values into two units of the states that the module hands on."""

    def __init__(self, values, site, start):
        self.values, self.site, self.start, self.count = values, site, start, -1

    def on_validation_start(self, trainer, pl_module):
        self.count += not trainer.sanity_checking

    def on_validation_batch_end(self, trainer, pl_module, outputs, batch, batch_idx, dataloader_idx=0):
        if self.count >= self.start and not trainer.sanity_checking:
            state = outputs["states"][self.site].clone()
            state[:, :, :2] = 3 * self.values[batch.rows].float()[:, None]
            outputs["states"][self.site] = state


def fitted(modular, callbacks, lr=1e-12, seed=3):
    """Five validations of a network that learns next to nothing."""
    seed_everything(seed, verbose=False)
    recipe = DataRecipe(task="mod", modulus=7, split="sum")
    data = ArithmeticDataModule(str(modular["train"]), str(modular["val"]), batch_size=32, recipe=recipe)
    module = ArithmeticModule(**SMALL, lr=lr)
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=1,
        val_check_interval=2,
        callbacks=callbacks,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
    )
    trainer.fit(module, datamodule=data)
    return module


def planted(modular, *, permuted):
    rows = ArithmeticDataset.from_tsv(modular["val"])
    values = torch.stack([target_values(f"residuemod7{wave}2", rows) for wave in ("cos", "sin")], dim=1)
    values = values[torch.randperm(len(values), generator=torch.Generator().manual_seed(0))] if permuted else values
    probing = EmergenceProbing(targets=["sum10"], drifts=0 if permuted else 19)
    fitted(modular, [Plant(values, "resid_post.0", 2), probing])
    return {one.variable: one for one in probing.found}, probing


def test_a_frequency_that_is_planted_emerges_when_and_where_it_is_planted(modular):
    found, probing = planted(modular, permuted=False)
    said = probing.findings()[0]
    assert list(found) == ["sum10", "residuemod7f1", "residuemod7f2", "residuemod7f3"]
    one = found["residuemod7f2"]
    assert (one.step, one.site, one.cleared) == (5, "resid_post.0", True)
    assert one.r2 > 0.8 and one.compared
    assert said.startswith("emerged: residuemod7f2 after 6 steps (resid_post.0); never: ")  # after step 5, six are done
    assert not any(other.emerged for name, other in found.items() if name != "residuemod7f2")
    (picture,) = probing.last.pictures
    (table,) = (block for block in probing.last.blocks if isinstance(block, Table))
    assert picture.finding == "Emerged, by steps: residuemod7f2 at 6."
    assert table.rows == (("residuemod7f2", "6", "resid_post.0"),)
    assert probing.last.scalars == {"emergence_variables/final@last/emerged": 1.0}
    assert len(probing.last.records["emergence"]["loss"]) == len(probing.last.records["emergence"]["steps"]) == 5


def test_the_same_values_on_other_rows_do_not_emerge(modular):
    found, probing = planted(modular, permuted=True)
    said = probing.findings()[0]
    assert all(one.site is None for one in found.values())  # whatever drift is
    assert said.startswith("emerged: nothing; never: sum10, ")


@pytest.mark.slow
def test_what_an_untrained_network_gives_away_does_not_emerge(modular):
    """And it would, if one other initialisation were all it is compared with."""

    class WithoutItsBeginning(EmergenceProbing):
        def on_train_start(self, trainer, pl_module):
            """Keep nothing."""

    count = {}
    for kind in (EmergenceProbing, WithoutItsBeginning):
        probing = kind(frequencies=0, drifts=0)
        fitted(modular, [probing], seed=6)
        assert len(probing.history) == 5
        count[kind] = sum(one.site is not None for one in probing.found)
    assert count[EmergenceProbing] == 0 < count[WithoutItsBeginning]


def test_a_fit_with_a_modulus_is_the_same_with_and_without_it(modular):
    states = [fitted(modular, some, lr=2e-3).state_dict() for some in ([], [EmergenceProbing(twins=2)])]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_an_untrained_network_leaves_every_generator_alone(monkeypatch):
    """Dropout on an accelerator draws from a generator that ``torch.manual_seed`` would seed."""

    def refuse(seed):
        raise RuntimeError("an accelerator is seeded")

    model = TinyTransformer(**SMALL)
    monkeypatch.setattr(torch.cuda, "manual_seed_all", refuse)
    before = torch.get_rng_state()
    loaded = LoadedModel("", "", model, ScaledMSE(), 0.0, None)
    one, same, other = (random_init_twin(loaded, seed).model.state_dict() for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(one["tok.weight"], same["tok.weight"]) and not torch.equal(
        one["tok.weight"], other["tok.weight"]
    )
    with pytest.raises(RuntimeError, match="an accelerator is seeded"):
        torch.manual_seed(0)


@pytest.mark.slow
def test_it_writes_records_curve_and_figure_and_the_loss_is_of_the_same_validation(observed):
    folder, out = observed
    assert "emerged: " in out and "never: " in out and "residuemod7f" in out
    said = " ".join(out.split())
    assert "emergence probing took" in out
    lines = read_jsonl(folder / "probes" / "emergence.jsonl")
    found = json.loads((folder / "emergence.json").read_text())
    assert next(iter(found)) == "verdict" and found["verdict"] == "NOT LEARNED"
    with (folder / "metrics.csv").open() as file:
        logged = {int(row["step"]): float(row["val/loss"]) for row in csv.DictReader(file) if row.get("val/loss")}
    assert found["steps"] == sorted(logged) == [line["step"] for line in lines]
    assert found["loss"] == pytest.approx([logged[step] for step in found["steps"]], rel=1e-5)
    assert found["loss"] == [line["loss"] for line in lines]
    assert len({round(loss, 9) for loss in found["loss"]}) == len(found["loss"]) == 4  # so a former one would be found
    emerged = [one for one in found["variables"] if one["step"] is not None]
    for one in found["variables"]:  # again, from the records: the first of three in a row, at one site
        seen = [line["variables"][one["variable"]]["cleared"] for line in lines]
        starts = [start for start in range(len(seen) - 2) if any(map(all, zip(*seen[start : start + 3], strict=True)))]
        assert one["step"] in [None, *(found["steps"][start] for start in starts)]  # drift may be above
    assert all(
        f"{one['variable']} after {one['step'] + 1} steps ({one['site']}" in said for one in emerged
    )  # steps done
    first = lines[0]["variables"]["sum"]
    assert list(first) == ["r2", "low", "p", "untrained", "of_period", "cleared", "drift"]
    assert [len(line["variables"]["sum"]) for line in lines] == [7, 7, 6, 7]  # drift is compared at 1, 2, 4 ...
    assert found["drift_compared_at"] == [found["steps"][number] for number in (0, 1, 3)]
    assert all(len(values) == len(lines[0]["sites"]) == 6 for values in first.values())
    assert list(found["variables"][0]) == [
        "variable",
        "step",
        "site",
        "r2",
        "last_r2",
        "last_site",
        "cleared",
        "before",
        "compared",
        "state",
    ]
    assert len(found["variables"]) == len(lines[0]["variables"])
    assert (folder / "figures" / "emergence_variables.png").stat().st_size > 5000
    events = EventAccumulator(str(folder)).Reload().Tags()
    (tag,) = (tag for tag in events["scalars"] if "emergence" in tag)
    assert tag == f"2 {Tag('emergence', 'variables', 'final', 'last', 'emerged')}"
    assert "2 emergence_variables/Emergence of each variable" in events["images"]


@pytest.mark.slow
def test_outside_a_fit_it_does_nothing(run, observed, modular, tmp_path):
    code, out, err = run(
        "validate",
        "--ckpt_path",
        observed.folder / "checkpoints" / "best.ckpt",
        *PROBE,
        *MODULAR,
        *("--data.train_file", modular["train"], "--data.val_file", modular["val"]),
        *("--trainer.default_root_dir", tmp_path, "--trainer.enable_progress_bar", "false"),
    )
    assert code == 0, err
    assert "emerged" not in out
    assert (run_of(tmp_path) / "behaviour.json").exists()  # the control
    assert not list(tmp_path.rglob("emergence.json"))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["name", "behaviour"], "EmergenceProbing: name is 'behaviour'; behaviour.json is another file of the run"),
        (["folds", 1], "EmergenceProbing: folds is 1; expected 2 or more"),
        (["permutations", 5], "permutations is 5; expected 19 or more"),
        (["twins", -1], "twins is -1; expected 0 or more"),
        (["drifts", 5], "drifts is 5; expected 19 or more"),
        (["targets", "[summ]"], "no target 'summ' in this data; did you mean 'sum'"),
        (["targets", "[]"], "expected at least one target or frequency"),
        (["frequencies", 3], "frequencies of the residue: k is unknown, the answers of .* do not wrap around"),
        (["frequencies", "[0]"], "frequencies is 0; expected 1 or more"),
        (["folds", 400, "--trainer.callbacks.targets", "[x]"], "values of 'x', fewer than the 400 folds"),
    ],
)
def test_options_that_do_not_fit_are_one_line_before_any_training(run, small_fit, tmp_path, words, message):
    name, *rest = words
    assert_refused(run(*small_fit, *PROBE, f"--trainer.callbacks.{name}", *rest), message)
    assert not (tmp_path / "lightning_logs").exists()


def test_a_group_with_too_few_values_is_left_out_unless_it_is_named(tmp_path):
    path = tmp_path / "rows.tsv"
    path.write_text("".join(f"{x} + {y} = ?\t{x + y}\n" for x in (3, 4) for y in range(10, 90)))
    rows, split = ArithmeticDataset.from_tsv(path), Split()
    what = watched(rows, ["all"], None, split)
    assert not any(name.startswith("x") for name in what.targets) and {"sum", "y", "y10"} < set(what.targets)
    assert len(what.left_out) == 1 and "2 different values of 'x', fewer than the 5 folds" in what.left_out[0]
    with pytest.raises(ArithprobeError, match="2 different values of 'x'"):
        watched(rows, ["all", "x"], None, split)
    with pytest.raises(ArithprobeError, match="nothing can be probed"):
        watched(rows, ["all"], None, split._replace(folds=400))


def test_a_group_too_few_for_an_interval_is_left_out_unless_it_is_named(tmp_path):
    path = tmp_path / "rows.tsv"
    path.write_text("".join(f"{x} + {y} = ?\t{x + y}\n" for x in range(30, 40) for y in range(10, 90)))
    rows, split = ArithmeticDataset.from_tsv(path), Split(folds=2)
    what = watched(rows, ["all"], None, split)
    assert not any(name.startswith("x") for name in what.targets) and {"sum", "y"} < set(what.targets)
    assert "the values of 'x' are worth 10 groups of one size" in what.left_out[0]
    with pytest.raises(ArithprobeError, match="worth 10 groups"):
        watched(rows, ["x"], None, split)


def test_the_figure_has_a_row_a_variable_and_says_what_it_leaves_out():
    names = ("sum", "x", "residuemod7f1", "residuemod7f2")
    rows = [
        Readings(
            one.step,
            names,
            one.sites,
            *(part.repeat(4, 1) for part in (one.r2, one.low, one.p)),
            torch.tensor([[0.2], [0.9], [0.2], [0.9]]),
        )
        for one in history("01111")
    ]
    found = emergences(rows, [one._replace(r2=one.r2.repeat(1, 4, 1)) for one in DRIFT])
    figure = emergence_map(rows, [9.0, 5.0, 1.0, 0.5, 0.1], found, None)
    above, below = figure.axes[:2]
    assert above.get_yscale() == "log"
    labels = [(label.get_text(), label.get_color()) for label in below.get_yticklabels()]
    assert labels == [("sum", "black"), ("residuemod7f1", "black"), ("x", GREY)]
    assert "they never were: 1)" in below.get_xlabel()
    assert below.collections[1].get_offsets().tolist() == [[21, 0], [21, 1]]
    assert emergence_map(rows, [9.0, 8.0, 7.0, 6.0, 5.0], found, None).axes[0].get_yscale() == "linear"
    assert emergence_map(rows[:1], [9.0], emergences(rows[:1]), None).axes
    assert [one.variable for one in in_order(found)] == ["sum", "residuemod7f1", "x", "residuemod7f2"]
    assert "never" in [
        label.get_text() for label in emergence_runs(over_runs([found]), [None], ["a"]).axes[0].get_xticklabels()
    ]


@pytest.fixture
def two_runs(tmp_path):
    """Records of two runs, as the callback writes them."""
    for number, sites in enumerate(("0111", "0000")):
        (one,) = emergences(history(sites, names=("sum",)), DRIFT)
        record = {
            "verdict": None,
            "behaviour": None,
            "task": "x + y",
            "in_a_row": 3,
            "steps": [10, 20, 30, 40],
            "own_beginning": number == 0,
            "variables": [vars(one) | {"r2": None if math.isnan(one.r2) else one.r2}],
        }
        (tmp_path / f"run{number}").mkdir()
        (tmp_path / f"run{number}" / "emergence.json").write_text(json.dumps(record))
    return [tmp_path / "run0", tmp_path / "run1"]


@pytest.mark.slow
def test_the_command_sets_runs_side_by_side(run, two_runs, observed, tmp_path):
    out_dir = tmp_path / "out"
    code, out, err = run("emergence", "--runs", *two_runs, "--output_dir", out_dir)
    assert code == 0, err
    assert "sum" in out and "21 to never" in out and "behaviour unknown" in out  # steps done; 20 were, before this one
    first, second = (line for line in out.splitlines() if "4 validations, the last after 41 steps" in line)
    resumed = "went on from a checkpoint: what emerged cannot be told from drift"
    assert resumed not in first and resumed in second
    found = json.loads((out_dir / "emergence.json").read_text())
    assert found["variables"][0]["steps"] == [20, None] and found["variables"][0]["emerged_in"] == 1
    assert (out_dir / "figures" / "emergence_runs.png").stat().st_size > 5000
    code, out, err = run("emergence", "--runs", observed.folder, "--output_dir", out_dir)
    assert code == 0, err
    assert "NOT LEARNED" in out and "nothing about the task" in out and "went on from a checkpoint" not in out
    assert_refused(
        run("emergence", "--runs", two_runs[0], observed.folder, "--output_dir", out_dir),
        r"'x \+ y \(mod 7\)'.* expected one task",
    )


@pytest.mark.parametrize("content", ["", "{}", "[1]", '{"task": "x", "steps": [1], "in_a_row": 3, "behaviour": 1}'])
def test_a_record_that_cannot_be_read_is_one_line(run, two_runs, tmp_path, content):
    (two_runs[0] / "emergence.json").write_text(content)
    done = run("emergence", "--runs", *two_runs, "--output_dir", tmp_path / "out")
    assert_refused(done, "emergence.json: cannot be read as what EmergenceProbing writes")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"steps": [10, 20]}, "run0: has 2 of the 3 validations that it takes to emerge"),
        ({"steps": []}, "run0: has 0 of the 3 validations that it takes to emerge"),
        ({"steps": [10, 20, "x", 40]}, "cannot be read as what EmergenceProbing writes"),
        ({"steps": [10, 20, None, 40]}, "cannot be read as what EmergenceProbing writes"),
        ({"steps": 4}, "cannot be read as what EmergenceProbing writes"),
        ({"behaviour": "GREAT"}, "cannot be read as what EmergenceProbing writes: .*verdict GREAT"),
        ({"step": "soon"}, "cannot be read as what EmergenceProbing writes: .*a step that is no number"),
        ({"steps": [10, 20, math.inf]}, "cannot be read as what EmergenceProbing writes"),
        ({"steps": [10, 20, 30.7]}, "cannot be read as what EmergenceProbing writes"),
        ({"steps": [-5, 20, 30]}, "cannot be read as what EmergenceProbing writes"),
        ({"step": True}, "cannot be read as what EmergenceProbing writes: .*a step that is no number"),
        ({"step": 20.5}, "cannot be read as what EmergenceProbing writes: .*a step that is no number"),
    ],
)
def test_a_record_that_says_what_cannot_be_is_one_line(run, two_runs, tmp_path, changed, message):
    path, words = two_runs[0] / "emergence.json", ("emergence", "--runs", *two_runs, "--output_dir", tmp_path / "out")

    def write(steps=(10, 20, 30), behaviour="LEARNED", step=20):
        record = json.loads(path.read_text())
        judged = Behaviour(behaviour, "all is well", 100, *[0.9] * 11, None)
        record |= {"steps": steps, "behaviour": vars(judged)}
        record["variables"][0]["step"] = step
        path.write_text(json.dumps(record))

    write(**changed)
    assert_refused(run(*words), message)
    assert not (tmp_path / "out").exists()
    write()  # the control
    code, out, err = run(*words)
    assert code == 0, err
    assert "LEARNED: all is well" in out and "3 validations, the last after 31 steps" in out


@pytest.mark.parametrize("steps", [(0, 0), (1, 20_000), (None, 0), (7, None)])
def test_never_stands_right_of_every_step_in_the_figure(steps):
    runs = [
        [Emergence("sum", step, None if step is None else "final", 0.5, 0.5, "final", True, compared=True)]
        for step in steps
    ]
    axes = emergence_runs(over_runs(runs), [None, None], ["a", "b"]).axes[0]
    never = 1.12 * max(1, *(0 if step is None else step + 1 for step in steps))
    assert axes.get_xticks()[-1] == pytest.approx(never) and axes.get_xticklabels()[-1].get_text() == "never"
    drawn = [line.get_xdata().tolist() for line in axes.get_lines()[:2]]
    assert drawn == [[pytest.approx(never if step is None else step + 1)] for step in steps]
    assert axes.get_xlim()[1] > never


def test_other_mistakes_of_the_command_are_one_line(run, two_runs, tmp_path):
    empty, out = tmp_path / "empty", ("--output_dir", tmp_path / "out")
    empty.mkdir()
    done = run("emergence", "--runs", empty, *out)
    assert_refused(done, "empty: has no emergence.json; train with the callback EmergenceProbing")
    assert_refused(run("emergence", "--runs", two_runs[0], two_runs[0], *out), "is named twice")
    assert_refused(run("emergence", *out), "RUN is missing")
    done = run("emergence", "--runs", two_runs[0], "--output_dir", two_runs[0])
    assert_refused(done, "would be overwritten")


@pytest.mark.slow
@pytest.mark.usefixtures("white")
def test_a_name_of_its_own_stays_in_the_title_when_all_is_said_again(modular):
    """The loss of a validation is known after its scores, so emergence says all again then, and at the end."""
    probing = EmergenceProbing(targets=["x"], frequencies=0, twins=0, drifts=0, name="early")
    fitted(modular, [probing])
    assert probing.last.name == "early" and probing.last.title == "Emergence (early)"
    assert not any(loss != loss for loss in probing.last.records["early"]["loss"])  # the control: it was said again
