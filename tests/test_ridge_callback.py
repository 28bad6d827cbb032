"""Live probes: the same numbers as a fit outside the run, at the right places, in the right files."""

import json

import numpy as np
import pytest
import torch
from conftest import assert_refused, read_jsonl
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from PIL import Image
from scikit_ridge import chosen, ridge
from short_fits import command, files_in, fit_words, run_of
from sklearn.metrics import r2_score
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from arithprobe.callbacks import BehaviourReport, RidgeProbing
from arithprobe.data.datamodule import ArithmeticDataModule
from arithprobe.data.dataset import ArithmeticDataset
from arithprobe.data.sampling import DataRecipe
from arithprobe.data.tsv import read_tsv
from arithprobe.errors import ArithprobeError
from arithprobe.probes.rare_layouts import rare_rows
from arithprobe.probes.splits import fold_of
from arithprobe.problems.rows import Inputs
from arithprobe.training.module import ArithmeticModule

PROBE = ["--trainer.callbacks", "RidgeProbing"]
LAST = ["--trainer.callbacks.positions", "[last]"]
EVERYWHERE = ["--trainer.callbacks.positions", "[last,index,role]", "--trainer.callbacks.targets", "[sum,x10]"]
BEST_IN_IT = ["--checkpoint.monitor", "ridge_sum/final@last/r2", "--checkpoint.mode", "max"]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return files_in(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def probed(files, tmp_path_factory):
    """The folder of a fit with probes of two targets everywhere, and what it said."""
    root = tmp_path_factory.mktemp("probed")
    code, out, err = command(*fit_words(files, root), *PROBE, *EVERYWHERE, *BEST_IN_IT)
    assert code == 0, err
    return run_of(root), out


@pytest.fixture(scope="module")
def lines(probed):
    return read_jsonl(probed[0] / "probes" / "ridge.jsonl")


@pytest.mark.slow
def test_scores_are_those_of_scikit_learn_on_the_final_weights(probed, lines, files):
    folder, _ = probed
    assert [line["epoch"] for line in lines] == [0, 1]  # no line for the sanity check
    module = ArithmeticModule.load_from_checkpoint(folder / "checkpoints" / "last.ckpt").eval()
    rows = ArithmeticDataset(read_tsv(files["val"]))
    with torch.no_grad():
        _, cache = module.model.run_with_cache(Inputs(rows.ids.long(), rows.lengths))
    total = rows.x + rows.y
    usual = ~rare_rows(rows.layout).numpy()
    test = (fold_of(total, 5) == 0).numpy() & usual
    train = ~test & usual
    cells = {(cell["site"], cell["position"]): cell for cell in lines[-1]["cells"] if cell["target"] == "sum"}
    plus = [text.index("+") for text in rows.texts()]
    tokens = {"last": (rows.lengths - 1).tolist(), "0": [0] * len(rows), "plus": plus}
    for (site, position), token in {
        ("final", "last"): tokens["last"],
        ("embed", "0"): tokens["0"],
        ("resid_mid.1", "plus"): plus,
    }.items():
        h = cache.states[site][torch.arange(len(rows)), torch.tensor(token)].double().numpy()
        y = total.double().numpy()
        fit = ridge(chosen(h[train], y[train, None])[0]).fit(h[train], y[train])
        assert cells[site, position]["r2"] == pytest.approx(r2_score(y[test], fit.predict(h[test])), abs=1e-6)
        assert cells[site, position]["r2_in_sample"] == pytest.approx(fit.score(h[train], y[train]), abs=1e-6)
        assert (cells[site, position]["n_train"], cells[site, position]["n_test"]) == (train.sum(), test.sum())
    sites = {site for site, _ in cells}
    assert sites == {"embed", "resid_mid.0", "resid_post.0", "resid_mid.1", "resid_post.1", "final"}
    assert {"last", "0", "12", "x100", "query"} <= {position for _, position in cells}


@pytest.mark.slow
def test_padding_is_never_probed(lines, files):
    rows = ArithmeticDataset.from_tsv(files["val"])
    lengths = rows.lengths[~rare_rows(rows.layout)]
    indices = [cell for cell in lines[-1]["cells"] if cell["position"].isdigit()]
    for cell in indices:
        assert cell["n_train"] + cell["n_test"] == (lengths > int(cell["position"])).sum()
    assert {int(cell["position"]) for cell in indices} == set(range(int(lengths.max())))


@pytest.mark.slow
def test_curves_pictures_and_records_stand_where_people_look(probed, lines):
    folder, out = probed
    events = EventAccumulator(str(folder)).Reload()
    tags = events.Tags()
    line = lines[-1]
    assert {cell["target"] for cell in line["cells"]} == {"sum", "x10"}
    cell = next(c for c in line["cells"] if (c["target"], c["site"], c["position"]) == ("x10", "final", "last"))
    for metric in ("r2", "null_high"):
        curve = events.Scalars(f"2 ridge_x10/final@last/{metric}")
        assert len(curve) == 2
        assert curve[-1].value == pytest.approx(cell[metric], abs=1e-6)
        assert curve[-1].step == line["step"]
    assert "2 ridge_sum/Held-out R2 of sum by site and position" in tags["images"]
    pixels = np.asarray(Image.open(folder / "figures" / "ridge_sum.png"))
    assert pixels.shape[0] > 300
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 20
    assert "ridge probing took" in out
    assert sum(line["seconds"].values()) > 0


@pytest.mark.slow
def test_its_scores_can_be_monitored(probed, lines):
    """The best checkpoint is that of the better of two epochs."""
    r2 = [
        cell["r2"]
        for line in lines
        for cell in line["cells"]
        if (cell["target"], cell["site"], cell["position"]) == ("sum", "final", "last")
    ]
    best = torch.load(probed[0] / "checkpoints" / "best.ckpt", weights_only=True)
    assert r2[0] != r2[1] and best["epoch"] == r2.index(max(r2))


@pytest.mark.usefixtures("white")
@pytest.mark.slow
def test_cross_validation_scores_every_row(run, small_fit, tmp_path):
    once = ["--trainer.callbacks.cross_validate", "true", "--trainer.max_epochs", 1]
    assert run(*small_fit, *PROBE, *LAST, *once)[0] == 0
    cells = read_jsonl(run_of(tmp_path) / "probes" / "ridge.jsonl")[-1]["cells"]
    assert next(cell for cell in cells if cell["position"] == "last")["n_test"] == 150 - 2  # rows of rare layouts


@pytest.mark.usefixtures("white")
@pytest.mark.slow
def test_the_figure_is_drawn_now_and_then(run, small_fit, tmp_path):
    words = ["--trainer.callbacks.figure_every", 3, "--trainer.max_epochs", 5]
    assert run(*small_fit, *PROBE, *LAST, *words)[0] == 0
    images = (
        EventAccumulator(str(run_of(tmp_path))).Reload().Images("2 ridge_sum/Held-out R2 of sum by site and position")
    )
    assert [image.step for image in images] == [10, 32, 54]  # validations 1, 3 and the last


@pytest.mark.usefixtures("white")
@pytest.mark.slow
def test_one_trainer_may_fit_and_then_validate(files, tmp_path):
    """The fit's records stay; what comes after is added beside them."""
    data = ArithmeticDataModule(str(files["train"]), str(files["val"]), recipe=DataRecipe(split="sum"))
    module = ArithmeticModule(d_model=16, n_heads=2, d_ff=32)
    callbacks = [RidgeProbing(positions=["last"]), BehaviourReport()]
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=2,
        callbacks=callbacks,
        enable_progress_bar=False,
        logger=TensorBoardLogger(tmp_path, "run"),
        enable_model_summary=False,
        log_every_n_steps=1,
    )
    trainer.fit(module, datamodule=data)
    folder = tmp_path / "run" / "version_0"
    fitted = (folder / "predictions.tsv").read_text()
    trainer.validate(module, datamodule=data, verbose=False)
    assert [line["stage"] for line in read_jsonl(folder / "probes" / "ridge.jsonl")] == ["fit", "fit", "validate"]
    assert set(json.loads((folder / "behaviour.json").read_text())) == {"last", "best", "validate"}
    assert (folder / "predictions.tsv").read_text() == fitted
    assert (folder / "predictions_validate.tsv").exists()
    assert module.behaviour is not None
    texts = EventAccumulator(str(folder)).Reload().Tags()["tensors"]
    assert "behaviour/text_summary" in texts


def two(name):
    """Words for two ridge probes, the second of other options."""
    first = {"class_path": "RidgeProbing", "init_args": {"positions": ["last"]}}
    second = {"class_path": "RidgeProbing", "init_args": {"positions": ["last"], "alphas": 1000, "name": name}}
    return [f"--trainer.callbacks={json.dumps([first, second])}"]


@pytest.mark.slow
def test_two_of_different_names_have_tags_files_and_pictures_of_their_own(run, small_fit, tmp_path):
    code, out, err = run(*small_fit, *two("stiff"), "--trainer.max_epochs", 1)
    assert code == 0, err
    folder = run_of(tmp_path)
    found = {
        name: {cell["site"]: cell["r2"] for cell in read_jsonl(folder / "probes" / f"{name}.jsonl")[-1]["cells"]}
        for name in ("ridge", "stiff")
    }
    assert found["ridge"].keys() == found["stiff"].keys() and found["ridge"] != found["stiff"]
    assert {f"{name}.page.json" for name in found} <= {path.name for path in (folder / "probes").iterdir()}
    pictures = [(folder / "figures" / f"{name}_sum.png").read_bytes() for name in found]
    assert pictures[0] != pictures[1]
    events = EventAccumulator(str(folder)).Reload()
    for name, cells in found.items():
        assert events.Scalars(f"2 {name}_sum/final@last/r2")[-1].value == pytest.approx(cells["final"], abs=1e-6)
        assert any(tag.startswith(f"2 {name}_sum/") for tag in events.Tags()["images"])
        assert f"{name} probe of 'sum' at final@last" in out and f"{name} probing took" in out


@pytest.mark.parametrize("name", [5, True, "", "A", "a b", "a_b", "ü", "../a", "a\n"])
def test_a_name_of_other_than_small_letters_is_refused_as_it_is_given(name):
    with pytest.raises(ArithprobeError, match="expected small letters"):
        RidgeProbing(name=name)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "ridge",
            r"two RidgeProbing both write probes/ridge.jsonl and tags 'ridge_...'; .* give one a 'name' of its own",
        ),
        ("Stiff 1", "name is 'Stiff 1'; expected small letters"),
    ],
)
def test_two_of_one_name_and_names_that_are_none_are_one_line(run, small_fit, tmp_path, name, message):
    assert_refused(run(*small_fit, *two(name)), message)
    assert not (tmp_path / "lightning_logs").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"alphas": 0}, "alphas is 0; expected a positive penalty"),
        ({"folds": 1}, "folds is 1; expected 2 or more"),
        ({"permutations": 18}, "permutations is 18; expected 19 or more"),
        ({"targets": []}, "at least one target"),
        ({"positions": ["index"]}, "'last' among the positions"),
    ],
)
def test_impossible_options_are_refused(options, message):
    with pytest.raises(ArithprobeError, match=f"RidgeProbing: .*{message}"):
        RidgeProbing(**options)


def test_a_mistake_in_an_option_shows_before_any_training(run, small_fit, tmp_path):
    code, _, err = run(*small_fit, *PROBE, "--trainer.callbacks.targets", "[summ]")
    assert code == 2
    assert "no target 'summ' in this data; did you mean 'sum'?" in err
    assert not (tmp_path / "lightning_logs").exists()
    code, _, err = run(*small_fit, *PROBE, "--trainer.callbacks.folds", 200)
    assert code == 2
    assert "fewer than the 200 folds; use fewer folds or more rows" in err
