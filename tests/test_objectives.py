"""Objectives: the loss against a loop, the way back to an answer, and what each refuses."""

import math

import numpy as np
import pytest
import torch
from conftest import SMALL, assert_refused
from hypothesis import given, settings
from hypothesis import strategies as st
from lightning.pytorch import Trainer
from sklearn.metrics import log_loss

from arithprobe.data.datamodule import ArithmeticDataModule
from arithprobe.data.sampling import DataRecipe, sample
from arithprobe.data.tsv import write_tsv
from arithprobe.errors import ArithprobeError
from arithprobe.models.checkpoints import load_model
from arithprobe.models.objective import Objective
from arithprobe.models.objectives import CircularMSE, ResidueCrossEntropy, ScaledMSE, objective_named
from arithprobe.training.module import ArithmeticModule

EVERY = [
    ScaledMSE(),
    ScaledMSE(408.0, 999.0),
    CircularMSE(97),
    CircularMSE(97, [1, 4, 48]),
    CircularMSE(10, [5, 2]),
    ResidueCrossEntropy(97),
]

pytestmark = pytest.mark.filterwarnings("ignore::arithprobe.errors.SharedRowsWarning")


def batch(objective, n=60, seed=0, dtype=torch.float32):
    """Outputs without meaning, and answers that the objective can say."""
    generator = torch.Generator().manual_seed(seed)
    outputs = torch.randn(n, objective.n_outputs, generator=generator).to(dtype)
    return outputs, torch.randint(0, getattr(objective, "modulus", 1999), (n,), generator=generator)


def looped_loss(objective, outputs, answers):
    """The definition, row by row."""
    rows = []
    for row, answer in zip(outputs.double().numpy(), answers.tolist(), strict=True):
        if isinstance(objective, ScaledMSE):
            rows.append((row[0] - (answer - objective.center) / objective.scale) ** 2)
        elif isinstance(objective, CircularMSE):
            angles = [2 * math.pi * frequency * answer / objective.modulus for frequency in objective.frequencies]
            target = [math.cos(angle) for angle in angles] + [math.sin(angle) for angle in angles]
            rows.append(np.mean((row - target) ** 2))
        else:
            probabilities = np.exp(row) / np.exp(row).sum()
            rows.append(log_loss([answer], [probabilities], labels=range(objective.modulus)))
    return np.mean(rows)


@pytest.mark.parametrize("objective", EVERY, ids=repr)
def test_the_loss_is_that_of_its_definition(objective):
    outputs, answers = batch(objective)
    assert objective.loss(outputs, answers).item() == pytest.approx(looped_loss(objective, outputs, answers), rel=1e-5)
    others = answers.roll(1)
    assert objective.loss(outputs, others).item() != pytest.approx(looped_loss(objective, outputs, answers), rel=1e-3)


@pytest.mark.parametrize("objective", EVERY, ids=repr)
def test_the_loss_of_a_batch_is_the_mean_over_its_rows(objective):
    """So losses of batches of unequal size add up to that of all rows."""
    outputs, answers = batch(objective)
    parts = [objective.loss(outputs[rows], answers[rows]) * len(rows) for rows in torch.arange(60).split(25)]
    assert sum(parts).item() / 60 == pytest.approx(objective.loss(outputs, answers).item(), rel=1e-5)


@pytest.mark.parametrize("objective", EVERY, ids=repr)
def test_half_precision_outputs_do_not_round_the_answers(objective):
    outputs, answers = batch(objective, dtype=torch.bfloat16)
    assert objective.loss(outputs, answers).dtype == torch.float32
    assert objective.loss(outputs, answers).item() == pytest.approx(looped_loss(objective, outputs, answers), rel=1e-5)


@pytest.mark.parametrize("objective", EVERY, ids=repr)
def test_descending_the_loss_leads_to_the_answers(objective):
    """The loss and the decoding mean the same: where one is least, the other is right."""
    outputs, answers = batch(objective)
    if isinstance(objective, ScaledMSE):
        answers = answers.clamp(max=int(objective.center + 3 * objective.scale))
    before = (objective.decode(outputs).round() == answers).double().mean()
    outputs.requires_grad_()
    optimizer = torch.optim.Adam([outputs], lr=0.1)
    for _ in range(300):
        optimizer.zero_grad()
        objective.loss(outputs, answers).backward()
        optimizer.step()
    found = objective.decode(outputs)
    assert (found.dtype, found.requires_grad) == (torch.float64, False)
    assert (found.round() == answers).all()
    assert before < 0.5


@settings(max_examples=40)
@given(st.integers(2, 300).flatmap(lambda k: st.tuples(st.just(k), st.sets(st.integers(1, k // 2), min_size=1))))
def test_every_residue_is_told_from_every_other_or_the_frequencies_are_refused(drawn):
    modulus, frequencies = drawn
    residues = np.arange(modulus)
    angles = 2 * np.pi * residues[:, None] * sorted(frequencies) / modulus
    points = np.concatenate([np.cos(angles), np.sin(angles)], axis=1)
    distinct = len(np.unique(points.round(9), axis=0)) == modulus
    if distinct:
        objective = CircularMSE(modulus, sorted(frequencies))
        assert objective.decode(torch.from_numpy(points)).tolist() == residues.tolist()
    else:
        with pytest.raises(ArithprobeError, match="cannot tell r from r"):
            CircularMSE(modulus, sorted(frequencies))


def test_a_point_beside_the_circle_is_the_nearest_residue():
    objective = CircularMSE(97)
    residues = torch.arange(97)
    for off, moved in ((0.49, 0), (0.51, 1), (-0.51, -1)):
        angles = 2 * math.pi * (residues + off) / 97
        points = 3.0 * torch.stack([angles.cos(), angles.sin()], dim=1)  # the radius does not count
        assert objective.decode(points).tolist() == ((residues + moved) % 97).tolist()


@pytest.mark.parametrize("objective", EVERY, ids=repr)
@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_an_output_that_is_no_number_is_no_answer(objective, broken):
    outputs, _ = batch(objective, 3)
    outputs[1, -1] = broken
    assert objective.decode(outputs).isfinite().tolist() == [True, False, True]


@pytest.mark.parametrize("objective", EVERY, ids=repr)
def test_what_a_checkpoint_stores_makes_an_equal_one(objective):
    again = objective_named(**objective.stored)
    outputs, answers = batch(objective)
    assert (repr(again), again.stored, again.n_outputs) == (repr(objective), objective.stored, objective.n_outputs)
    assert torch.equal(again.decode(outputs), objective.decode(outputs))
    assert torch.equal(again.loss(outputs, answers), objective.loss(outputs, answers))


class Sign(ScaledMSE):
    """An objective of a user's own."""


def test_an_objective_of_ones_own_is_known_by_its_name():
    assert type(objective_named("Sign", {"scale": 3.0})) is Sign


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ScaledMSE(0.0), "scale is 0.0; expected a positive number"),
        (lambda: ScaledMSE(math.nan), "scale is nan"),
        (lambda: ScaledMSE(1.0, math.inf), "center is inf; expected a number"),
        (lambda: ResidueCrossEntropy(1), "modulus is 1; expected 2 to 100000"),
        (lambda: CircularMSE(97, []), "frequencies is empty"),
        (lambda: CircularMSE(97, None), "frequencies: expected whole numbers, got None"),
        (lambda: CircularMSE(97, [1.5]), "frequencies: expected whole numbers, got 1.5"),
        (lambda: ResidueCrossEntropy(7.0), "modulus: expected integers, got 7.0"),
        (lambda: ScaledMSE(None), "scale is None"),
        (lambda: ArithmeticModule(objective="CircularMSE"), "objective is 'CircularMSE'; expected an Objective"),
        (lambda: CircularMSE(97, [49]), r"frequency 49 is outside 1 to k / 2 = 48.5"),
        (lambda: CircularMSE(97, [0]), r"frequency 0 is outside 1 to k / 2 = 48.5"),
        (lambda: CircularMSE(97, [3, 5, 3]), "frequency 3 is there 2 times"),
        (lambda: CircularMSE(12, [2, 4]), r"frequencies \[2, 4\] cannot tell r from r \+ 6"),
        (lambda: objective_named("CircularMES", {}), "no objective 'CircularMES'; did you mean 'CircularMSE'"),
        (lambda: objective_named("CircularMSE", {"k": 3}), r"the options {'k': 3} are none of CircularMSE"),
    ],
)
def test_bad_options_are_refused_in_one_line(make, message):
    with pytest.raises(ArithprobeError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("objective", EVERY, ids=repr)
def test_only_answers_that_it_can_say_are_asked_of_an_objective(objective):
    moduli = (None, 97, 10, 113)
    refused = [modulus for modulus in moduli if refuses(objective, modulus)]
    able = moduli if isinstance(objective, ScaledMSE) else (objective.modulus,)
    assert refused == [modulus for modulus in moduli if modulus not in able]


def refuses(objective: Objective, modulus):
    try:
        objective.require_task(modulus)
    except ArithprobeError as error:
        assert repr(objective) in str(error)
        return True
    return False


# --- from data to checkpoint, on problems small enough to learn in seconds


@pytest.fixture
def sevens(tmp_path):
    """Sums mod 7 of operands of one digit: so few pairs that most of those to validate were trained on."""
    recipe = DataRecipe(task="mod", modulus=7, rows=500, max_operand=9, val_fraction=0.2)
    parts = sample(recipe)
    files = [str(write_tsv(tmp_path / f"{part}.tsv", parts[part].problems(recipe))) for part in ("train", "val")]
    return ArithmeticDataModule(*files, batch_size=64, recipe=recipe)


OF_SEVEN = [ScaledMSE(2.0, 3.0), CircularMSE(7, [1, 2]), ResidueCrossEntropy(7)]


def fitted(data, objective, tmp_path, steps=5, **options):
    torch.manual_seed(0)
    module = ArithmeticModule(**SMALL, dropout=0.0, norm="pre", positions="place", objective=objective, **options)
    trainer = Trainer(
        accelerator="cpu",
        max_steps=steps,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
        enable_checkpointing=False,
        num_sanity_val_steps=0,
        check_val_every_n_epoch=1000,
    )
    trainer.fit(module, datamodule=data)
    trainer.validate(module, datamodule=data, verbose=False)
    trainer.save_checkpoint(tmp_path / "model.ckpt")
    return module, trainer


@pytest.mark.slow
@pytest.mark.parametrize("objective", OF_SEVEN[1:], ids=repr)
def test_a_residue_is_learned_and_said_so(objective, sevens, tmp_path):
    module, trainer = fitted(sevens, objective, tmp_path, 350, embedding_sd=0.2, lr=5e-3)
    logged = {name: value.item() for name, value in trainer.callback_metrics.items()}
    assert module.behaviour.exact_match > 0.9
    assert set(logged) == {f"val/{name}" for name in ("loss", "exact_match", "skill", "circular_error")}
    untrained, _ = fitted(sevens, objective, tmp_path, 1, embedding_sd=0.2)
    assert untrained.behaviour.exact_match < 0.5


@pytest.mark.parametrize("objective", OF_SEVEN, ids=repr)
def test_figures_are_in_answer_units_over_all_rows(objective, sevens, tmp_path):
    module, trainer = fitted(sevens, objective, tmp_path)
    rows = sevens.dataset("val")
    with torch.no_grad():
        outputs = module.model.eval()(rows.ids.long(), rows.lengths)
    predictions = objective.decode(outputs)
    logged = {name: value.item() for name, value in trainer.callback_metrics.items()}
    assert logged["val/loss"] == pytest.approx(looped_loss(objective, outputs, rows.answers), rel=1e-5)
    assert logged["val/exact_match"] == pytest.approx((predictions.round() == rows.answers).double().mean().item())
    around = [min((p - a) % 7, (a - p) % 7) for p, a in zip(predictions.tolist(), rows.answers.tolist(), strict=True)]
    assert logged["val/circular_error"] == pytest.approx(np.mean(around), rel=1e-5)
    assert "of answers exact, off by" in module.behaviour.reason


@pytest.mark.parametrize("objective", OF_SEVEN, ids=repr)
def test_a_checkpoint_says_what_it_was_trained_to_output(objective, sevens, tmp_path, run):
    module, _ = fitted(sevens, objective, tmp_path)
    path, rows = tmp_path / "model.ckpt", sevens.dataset("val")
    again = ArithmeticModule.load_from_checkpoint(path)
    loaded = load_model(path)
    assert repr(again.objective) == repr(loaded.objective) == repr(objective)
    assert loaded.model.architecture == module.model.architecture
    with torch.no_grad():
        expected = module.eval()(rows.ids.long(), rows.lengths)
        assert torch.equal(again.eval()(rows.ids.long(), rows.lengths), expected)
        assert torch.equal(loaded.objective.decode(loaded.model(rows.ids.long(), rows.lengths)), expected)
    words = ["--ckpt_path", path, "--data.val_file", rows.path, "--trainer.default_root_dir", tmp_path]
    of_task = ["--data.recipe.task", "mod", "--data.recipe.modulus", 7, "--trainer.accelerator", "cpu"]
    code, out, err = run("validate", *words, *of_task)
    assert code == 0, err
    assert f"{module.behaviour.exact_match:.1%} of answers exact" in out
    assert "circular error" in out  # a column of the table, for answers with a modulus
    assert ("R2" in out) == isinstance(objective, ScaledMSE)


def test_a_checkpoint_of_another_objective_is_refused(sevens, tmp_path, run):
    fitted(sevens, OF_SEVEN[1], tmp_path)
    files = ["--data.train_file", sevens.files["train"], "--data.val_file", sevens.files["val"]]
    of_task = ["--data.recipe.task", "mod", "--data.recipe.modulus", 7]
    words = [word for name, value in SMALL.items() for word in (f"--model.{name}", value)]
    path = tmp_path / "model.ckpt"
    assert_refused(run("fit", *files, *of_task, *words, "--ckpt_path", path), "model.ckpt: another architecture")
    one = ["--model.objective", "CircularMSE", "--model.objective.modulus", 7, "--model.objective.frequencies", "[1,3]"]
    assert_refused(run("fit", *files, *of_task, *words, *one, "--ckpt_path", path), "the checkpoint's objective is")
    probe = ["probe", "--checkpoint", path, "--data", sevens.files["val"], "--output_dir", tmp_path / "out"]
    assert_refused(run(*probe, "--scale", 3), r"says CircularMSE\(.*frequencies=\[1, 2\]\), the option says scale 3")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["--model.objective.modulus", 11],
            r"answers 'x \+ y \(mod 11\)' \(ResidueCrossEntropy\(modulus=11\)\), "
            r"the data is 'x \+ y \(mod 7\)'; --model.objective or --data.recipe",
        ),
        (["--model.scale", 3], r"unknown option --model.scale; did you mean --model.objective.scale"),
        (
            ["--model.objective", "CircularMSE", "--model.objective.frequencies", "[1.5]"],
            "CircularMSE: .*frequencies.*Expected a int.*1.5",
        ),
        (
            ["--checkpoint.monitor", "val/rmse"],
            r"monitor 'val/rmse' is not logged: it is a metric of ScaledMSE, "
            r"the objective is ResidueCrossEntropy\(modulus=7\)",
        ),
        (
            [
                "--trainer.callbacks",
                "lightning.pytorch.callbacks.EarlyStopping",
                "--trainer.callbacks.monitor",
                "val/r2",
            ],
            "monitor 'val/r2' is not logged: it is a metric of ScaledMSE",
        ),
        (["--checkpoint.monitor", "val/exact_macth"], "did you mean 'val/exact_match'"),
        (["--model.schedule", "cosine", "--trainer.max_epochs", -1], "a cosine schedule needs an end"),
    ],
)
def test_bad_options_of_a_fit(words, message, sevens, tmp_path, run):
    files = ["--data.train_file", sevens.files["train"], "--data.val_file", sevens.files["val"]]
    of_task = ["--data.recipe.task", "mod", "--data.recipe.modulus", 7, "--trainer.default_root_dir", tmp_path / "runs"]
    objective = ["--model.objective", "ResidueCrossEntropy", "--model.objective.modulus", 7]
    assert_refused(run("fit", *files, *of_task, *objective, *words), message)
    assert not (tmp_path / "runs").exists()
