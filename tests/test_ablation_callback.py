"""``DirectionAblation``: the live figures are those of the pure functions on the same rows."""

import copy
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import SMALL, read_jsonl
from lightning.pytorch import Trainer
from short_fits import files_in

from arithprobe.callbacks import DirectionAblation
from arithprobe.data.datamodule import ArithmeticDataModule
from arithprobe.data.dataset import ArithmeticDataset
from arithprobe.data.sampling import DataRecipe
from arithprobe.errors import ArithprobeError
from arithprobe.probes.moments import ALPHAS
from arithprobe.probes.rare_layouts import rare_rows
from arithprobe.probes.splits import fold_of
from arithprobe.probes.tags import Tag
from arithprobe.problems.rows import Inputs
from arithprobe.said.content import Words
from arithprobe.training.module import ArithmeticModule


@pytest.fixture(scope="module")
def validated(tmp_path_factory):
    """One validation of an untrained model, and its callback."""
    files, root = files_in(tmp_path_factory.mktemp("data")), tmp_path_factory.mktemp("validated")
    torch.manual_seed(0)
    module, callback = ArithmeticModule(**SMALL), DirectionAblation(["sum", "summod10f1"], ablation="zero")
    data = ArithmeticDataModule(str(files["train"]), str(files["val"]), recipe=DataRecipe(split="sum"))
    trainer = Trainer(accelerator="cpu", callbacks=[callback], default_root_dir=root, enable_progress_bar=False)
    trainer.validate(module, datamodule=data, verbose=False)
    return module, callback, trainer, ArithmeticDataset.from_tsv(files["val"])


@pytest.mark.slow
def test_the_effect_is_that_of_the_direction_fitted_on_other_sums(validated):
    """Recomputed from nothing but the model's own parts: ridge by its normal equations, the head by hand."""
    module, _, trainer, rows = validated
    model = copy.deepcopy(module.model).eval()
    held = fold_of(rows.x + rows.y, 5) == 0
    with torch.no_grad():
        outputs, cache = model.run_with_cache(Inputs(rows.ids.long(), rows.lengths))
    every = torch.arange(len(rows))
    h = cache.states["final"][every, rows.lengths - 1].double()
    train = ~held & ~rare_rows(rows.layout)
    fit, y = h[train], (rows.x + rows.y)[train].double()
    fit, y = fit - fit.mean(dim=0), (y - y.mean()).numpy()
    fit = (fit / fit.square().mean().sqrt()).numpy()  # penalties of directions are in units of the mean variance
    eigenvalues, n = np.linalg.eigvalsh(fit.T @ fit), len(y)
    candidates = [(alpha, np.linalg.solve(fit.T @ fit + alpha * np.eye(len(fit.T)), fit.T @ y)) for alpha in ALPHAS]
    gcv = {
        alpha: np.square(y - fit @ w).sum() / (n - 1 - 1.1 * (eigenvalues / (eigenvalues + alpha)).sum()) ** 2
        for alpha, w in candidates
        if alpha >= 10
    }
    w = torch.from_numpy(dict(candidates)[min(gcv, key=gcv.get)])
    w = w / w.norm()
    head = model.readout.double().requires_grad_(False)
    without = head(h[held] - h[held] @ w[:, None] * w)[:, 0] * 2000
    rmse = [(one - rows.answers[held]).square().mean().sqrt() for one in (without, outputs[held, 0].double() * 2000)]
    live = trainer.callback_metrics["ablation_sum/final@last/delta_rmse"].item()
    assert live == pytest.approx(float(rmse[0] - rmse[1]), rel=1e-3)
    assert abs(live) > 0.01


@pytest.mark.slow
def test_everything_announced_is_logged_and_recorded(validated):
    _, callback, trainer, _ = validated
    folder = Path(trainer.log_dir)
    logged = {tag for tag in trainer.callback_metrics if tag.startswith("ablation_")}
    assert logged <= set(callback.tags())
    assert {Tag.parse(tag).metric for tag in logged} >= {"delta_rmse", "isotropic_high"}
    (record,) = read_jsonl(folder / "probes" / "ablation.jsonl")
    assert record["verdict"] == "NOT LEARNED"
    assert len(record["cells"]) == 2 * 5
    assert {cell["site"] for cell in record["cells"] if cell["near_tautological"]} == {"resid_post.1", "final"}
    assert all(set(cell["random"]) == {"isotropic", "permuted"} for cell in record["cells"])
    assert len(list(folder.glob("figures/ablation_*.png"))) == 2
    assert len(callback.findings()) == 2
    assert np.isfinite(record["seconds"]["compute"])


@pytest.mark.slow
def test_where_no_random_subspace_compares_the_line_says_that_it_cannot_be_told_and_why(validated):
    callback = validated[1]
    assert not any("cannot be told: the reason" in line for line in callback.findings())  # the control
    untold = {"p": math.nan, "percentile": math.nan, "note": "the reason"}
    (found,) = callback.history
    bare = [
        one._replace(
            effect=replace(one.effect, families=tuple(replace(each, **untold) for each in one.effect.families))
        )
        for one in found.result
    ]
    lines = [one.text for one in callback.said([found._replace(result=bare)]).blocks if isinstance(one, Words)]
    assert len(lines) == 2
    for line in lines:
        assert "isotropic cannot be told: the reason, permuted cannot be told: the reason; " in line


def test_an_unknown_site_is_refused_and_those_there_are_listed(small_data, tmp_path):
    data = ArithmeticDataModule(str(small_data["train"]), str(small_data["val"]), recipe=DataRecipe(split="sum"))
    trainer = Trainer(
        accelerator="cpu",
        callbacks=[DirectionAblation(sites=["resid_past.0"])],
        logger=False,
        default_root_dir=tmp_path,
        enable_progress_bar=False,
    )
    with pytest.raises(ArithprobeError, match=r"no site 'resid_past\.0'; did you mean"):
        trainer.validate(ArithmeticModule(**SMALL), datamodule=data, verbose=False)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"draws": 3}, "draws is 3; expected 19 or more"),
        ({"every": 0}, "every is 0"),
        ({"alphas": -1.0}, "alphas is -1.0"),
        ({"targets": []}, "no targets"),
        ({"ablation": "median"}, "no ablation 'median'"),
        ({"eraser": "leasce"}, "no eraser 'leasce'"),
    ],
)
def test_a_bad_option_is_refused_at_once(options, message):
    with pytest.raises(ArithprobeError, match=message):
        DirectionAblation(**options)
