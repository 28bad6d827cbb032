"""Checkpoints of either kind, loaded for analysis, and the pass over the rows."""

import pytest
import torch
from conftest import SMALL
from lightning.pytorch import Trainer

from arithprobe.analysis.forward import random_init_twin, run_over
from arithprobe.data.datamodule import ArithmeticDataModule
from arithprobe.data.dataset import ArithmeticDataset
from arithprobe.data.sampling import DataRecipe
from arithprobe.data.tsv import parse_tsv, read_tsv
from arithprobe.errors import ArithprobeError
from arithprobe.models.checkpoints import load_model
from arithprobe.models.objectives import ScaledMSE
from arithprobe.models.transformer import TinyTransformer
from arithprobe.training.module import ArithmeticModule


@pytest.fixture
def plain(tmp_path):
    torch.manual_seed(0)
    model = TinyTransformer(**SMALL).eval()
    torch.save(model.state_dict(), tmp_path / "plain.pt")
    return model, tmp_path / "plain.pt"


@pytest.fixture
def rows(small_data):
    return ArithmeticDataset(read_tsv(small_data["val"]))


def test_a_plain_file_gives_its_model_back(plain, rows):
    model, path = plain
    loaded = load_model(path, n_heads=2, scale=500.0)
    batch = rows.__getitems__(range(20))
    torch.testing.assert_close(loaded.model(batch.ids, batch.lengths), model(batch.ids, batch.lengths))
    assert (loaded.kind, loaded.train_mean, loaded.task) == ("plain state_dict", None, None)
    assert loaded.objective.scale == 500.0
    assert not loaded.model.training


def test_the_number_of_heads_matters_and_is_4_by_default(plain, rows):
    model, path = plain
    batch = rows.__getitems__(range(20))
    other = load_model(path)
    assert other.model.sizes["n_heads"] == 4
    assert not torch.allclose(other.model(batch.ids, batch.lengths), model(batch.ids, batch.lengths))


def test_a_lightning_checkpoint_says_it_all(small_data, tmp_path, rows):
    data = ArithmeticDataModule(*(str(small_data[p]) for p in ("train", "val")), recipe=DataRecipe(split="sum"))
    module = ArithmeticModule(**SMALL, objective=ScaledMSE(300.0))
    trainer = Trainer(
        max_epochs=1,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        accelerator="cpu",
        default_root_dir=tmp_path,
        enable_checkpointing=False,
    )
    trainer.fit(module, datamodule=data)
    trainer.save_checkpoint(tmp_path / "one.ckpt")
    loaded = load_model(tmp_path / "one.ckpt")
    assert (loaded.kind, loaded.task, loaded.objective.scale) == ("Lightning checkpoint", "x + y", 300.0)
    assert loaded.train_mean == module.train_mean
    assert loaded.model.sizes["n_heads"] == 2
    found = run_over(loaded, rows)
    assert found.behaviour.skill == pytest.approx(module.behaviour.skill)
    assert len(found.predictions) == len(rows)
    with pytest.raises(ArithprobeError, match="says n_heads 2, the option says 4"):
        load_model(tmp_path / "one.ckpt", n_heads=4)
    other = ArithmeticDataset(parse_tsv(b"1 + 2 (mod 5) = ?\t3\n", "mod.tsv"))
    with pytest.raises(ArithprobeError, match=r"was trained on 'x \+ y'; mod.tsv has 'x \+ y \(mod 5\)'"):
        run_over(loaded, other)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tok.weight": torch.zeros(30, 16)}, "vocabulary has 30 tokens; expected 21"),
        ({"tok.weight": None}, "no weights of a TinyTransformer: 'tok.weight' is missing"),
        ({"readout.weight": torch.zeros(97, 16), "readout.bias": torch.zeros(97)}, "readout has 97 outputs"),
        ({"enc.layers.1.norm1.weight": torch.zeros(3)}, "another architecture: 'enc.layers.1.norm1.weight'"),
    ],
)
def test_other_files_are_refused(plain, tmp_path, change, message):
    weights = {name: value for name, value in (plain[0].state_dict() | change).items() if value is not None}
    torch.save(weights, tmp_path / "other.pt")
    with pytest.raises(ArithprobeError, match=message):
        load_model(tmp_path / "other.pt", n_heads=2)


@pytest.mark.parametrize(
    "change",
    [
        {"hyper_parameters": "none"},
        {"state_dict": []},
        {"arithprobe": None},
        {"hyper_parameters": {"n_heads": "4"}},
        {"arithprobe": {"train_mean": float("nan")}},
    ],
)
def test_lightning_checkpoints_of_something_else_are_refused(plain, tmp_path, change):
    weights = {f"model.{name}": value for name, value in plain[0].state_dict().items()}
    torch.save({"pytorch-lightning_version": "2", "state_dict": weights} | change, tmp_path / "odd.ckpt")
    with pytest.raises(
        ArithprobeError, match=r"not a checkpoint of an ArithmeticModule|expected a (finite|whole) number"
    ):
        load_model(tmp_path / "odd.ckpt")


def renamed(weights, rename):
    return {rename(name): value for name, value in weights.items()}


@pytest.mark.parametrize("prefix", ["_orig_mod.", "module.", "module._orig_mod.", "_orig_mod.module."])
def test_names_of_compiled_and_of_parallel_models_are_the_models_own(plain, tmp_path, rows, prefix):
    model, _ = plain
    batch = rows.__getitems__(range(20))
    expected = model(batch.ids, batch.lengths)
    torch.save(renamed(model.state_dict(), lambda name: prefix + name), tmp_path / "a.pt")
    assert torch.equal(load_model(tmp_path / "a.pt", 2).model(batch.ids, batch.lengths), expected)
    started = ArithmeticModule(**SMALL, weights=str(tmp_path / "a.pt")).eval()
    assert torch.equal(started.model(batch.ids, batch.lengths), expected)
    extra = {"objective": {"name": "ScaledMSE", "options": {}}}
    for whole in (f"model.{prefix}", f"{prefix}model."):
        weights = renamed(model.state_dict(), lambda name, whole=whole: whole + name)
        content = {"pytorch-lightning_version": "2.6", "state_dict": weights, "arithprobe": extra}
        torch.save(content | {"hyper_parameters": {"n_heads": 2}}, tmp_path / "a.ckpt")
        assert torch.equal(load_model(tmp_path / "a.ckpt").model(batch.ids, batch.lengths), expected)


def test_a_name_that_is_there_twice_is_refused(plain, tmp_path):
    torch.save(plain[0].state_dict() | {"_orig_mod.ln.bias": torch.zeros(16)}, tmp_path / "twice.pt")
    with pytest.raises(ArithprobeError, match=r"twice.pt: has 'ln.bias' twice, once as '_orig_mod.ln.bias'"):
        load_model(tmp_path / "twice.pt", 2)


def test_of_a_folder_the_best_checkpoint_is_taken_or_else_the_last(plain, tmp_path):
    model, _ = plain
    run, checkpoints = tmp_path / "run", tmp_path / "run" / "checkpoints"
    checkpoints.mkdir(parents=True)
    with pytest.raises(ArithprobeError, match=r"run: is a folder without a checkpoint; expected a file, or the folder"):
        load_model(run)
    for name in ("last.ckpt", "best.ckpt"):
        torch.save(model.state_dict(), checkpoints / name)
        assert load_model(run, 2).path == load_model(checkpoints, 2).path == str(checkpoints / name)


def test_no_heads_is_not_the_default(plain):
    with pytest.raises(ArithprobeError, match="n_heads is 0"):
        load_model(plain[1], n_heads=0)


def test_prompts_that_are_too_long_are_refused(tmp_path, rows):
    torch.save(TinyTransformer(**SMALL, max_len=5).state_dict(), tmp_path / "short.pt")
    with pytest.raises(ArithprobeError, match=r"its position table holds 5 tokens; the longest problem of .* has 13"):
        run_over(load_model(tmp_path / "short.pt", 2), rows)


def test_states_that_are_not_numbers_are_named_by_site_and_row(plain, tmp_path, rows):
    model, _ = plain
    model.enc.layers[1].linear1.weight.data[0, 0] = torch.nan
    torch.save(model.state_dict(), tmp_path / "nan.pt")
    with pytest.raises(ArithprobeError, match=r"the state at mlp_act.1, token 0 is not finite in row 1 of .*small_val"):
        run_over(load_model(tmp_path / "nan.pt", 2), rows)


@pytest.mark.parametrize("options", [{}, {"norm": "pre", "positions": "place", "embedding_sd": 0.1}], ids=str)
def test_a_twin_is_the_same_architecture_untrained_and_leaves_the_global_random_state_alone(plain, rows, options):
    loaded = load_model(plain[1], 2)
    loaded = loaded._replace(model=TinyTransformer(**SMALL, **options))
    before = torch.random.get_rng_state()
    twin, again, other = (random_init_twin(loaded, seed).model for seed in (0, 0, 1))
    assert torch.equal(torch.random.get_rng_state(), before)
    shapes = [{n: w.shape for n, w in one.state_dict().items()} for one in (twin, loaded.model)]
    assert shapes[0] == shapes[1] and twin.architecture == loaded.model.architecture
    assert torch.equal(twin.tok.weight, again.tok.weight)
    assert not torch.equal(twin.tok.weight, other.tok.weight)
    batch = rows.__getitems__(range(20))

    def of_seed_1(**options):
        torch.manual_seed(1)
        return TinyTransformer(**SMALL, **options).eval()(batch.ids, batch.lengths)

    outputs = other(batch.ids, batch.lengths)
    assert torch.equal(outputs, of_seed_1(**options))
    for name in options:  # the control: each option counts
        without = of_seed_1(**{kept: options[kept] for kept in options if kept != name})
        assert (without - outputs).abs().max() > 1e-3


def test_all_sites_are_those_that_a_pass_gives(plain, rows):
    loaded = load_model(plain[1], 2)
    seen = []
    run_over(loaded, rows, [lambda states, numbers: seen.append(list(states))])
    assert tuple(seen[0]) == tuple(loaded.model.sites)
