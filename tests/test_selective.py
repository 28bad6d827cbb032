"""Selective is a test against untrained networks, exact over all cells; what training changed is a description."""

import json

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from micro import one_thread  # noqa: F401
from random_problems import RandomProblems
from scipy.stats import binom
from short_fits import command, files_in, fit_words, run_of

from arithprobe.analysis.probe import untrained
from arithprobe.analysis.probe.initialisation import own_initialisation
from arithprobe.analysis.probe.options import ProbeOptions
from arithprobe.analysis.probe.record import record_of
from arithprobe.analysis.probe.run import probe
from arithprobe.analysis.probe.untrained import TABLE_TWINS, ClaimsUntrained
from arithprobe.data.datamodule import ArithmeticDataModule
from arithprobe.data.dataset import ArithmeticDataset
from arithprobe.data.tsv import format_tsv, parse_tsv
from arithprobe.errors import ArithprobeError
from arithprobe.files import to_json
from arithprobe.models.checkpoints import load_model, weights_hash
from arithprobe.models.initial import Initial
from arithprobe.models.transformer import TinyTransformer
from arithprobe.probes.claims import ClaimSurvey, claim_of
from arithprobe.probes.paired import FEWEST_GROUPS, paired_differences
from arithprobe.probes.sample import StateSample
from arithprobe.probes.selective import beside_untrained
from arithprobe.probes.survey import RidgeSurvey, Split, Target
from arithprobe.problems.grammar import Problem
from arithprobe.problems.positions import PositionTable
from arithprobe.training.module import ArithmeticModule

pytestmark = pytest.mark.slow
LEVEL, MANY = 0.05, 20


def in_turn(networks):
    """Whether a set of networks, each in turn in the place of the trained one, has a selective cell."""
    found = []
    for own, r2 in enumerate(networks):
        (claim,) = beside_untrained([r2], [[*networks[:own], *networks[own + 1 :]]])
        found.append(bool((claim.p <= LEVEL).any()))
    return found


def draws(kind, seed, count=MANY, cells=(48, 6)):
    """R2 of networks that differ by chance alone."""
    rng = np.random.default_rng(seed)
    shared = rng.standard_normal((count, cells[0], 1))
    found = {
        "normal": lambda: 0.5 + 0.05 * rng.standard_normal((count, *cells)),
        "equal from site to site": lambda: 0.6 + 0.1 * shared + 1e-4 * rng.standard_normal((count, *cells)),
        "next to 1 and to 0": lambda: np.concatenate(
            [1 - rng.gamma(2.0, 0.01, (count, 24, cells[1])), 0.01 * rng.standard_normal((count, 24, cells[1]))], axis=1
        ),
        "seldom read": lambda: np.where(rng.random((count, *cells)) < 0.01, 0.7, -0.01),
    }[kind]()
    return torch.from_numpy(found)


@pytest.mark.parametrize("kind", ["normal", "equal from site to site", "next to 1 and to 0", "seldom read"])
def test_of_twenty_networks_alike_one_at_most_is_selective_anywhere(kind):
    """The family-wise level, without chance: 1 of 20; of 288 cells for themselves nearly all networks would be."""
    for seed in range(5):
        networks = draws(kind, seed)
        assert sum(in_turn(list(networks))) <= 1
        highest = networks == networks.amax(dim=0)
        assert kind == "equal from site to site" or highest.flatten(1).any(dim=1).float().mean() > 0.5  # the control


def reference(own, twins):
    """p-values of the cells of one claim, number by number."""
    nats = [[-0.5 * np.log(1 - max(r2, 0.0)) for r2 in one] for one in [own, *twins]]
    heights = []
    for one in nats:
        columns = [[other[cell] for other in nats] for cell in range(len(own))]
        heights.append([(one[cell] - np.mean(all_)) / max(np.std(all_), 0.01) for cell, all_ in enumerate(columns)])
    return [(1 + sum(max(twin) >= height for twin in heights[1:])) / len(heights) for height in heights[0]]


def test_p_values_are_those_of_the_definition():
    networks = draws("next to 1 and to 0", 7)[:, 20:28, 0]
    (found,) = beside_untrained([networks[:1].T], [[one[:, None] for one in networks[1:]]])
    assert found.p[:, 0].tolist() == pytest.approx(reference(networks[0].tolist(), networks[1:].tolist()))
    assert found.highest[:, 0].tolist() == networks[1:].amax(dim=0).tolist()


def test_what_is_read_much_better_is_selective_in_its_cell_and_in_no_other():
    networks = draws("next to 1 and to 0", 1)
    networks[0, 3, 2] = 1 - 1e-5  # where untrained networks read 0.98
    networks[0, 40, 1] = 0.4  # where they read nothing
    (found,) = beside_untrained([networks[0]], [list(networks[1:])])
    assert found.p[3, 2].item() == found.p[40, 1].item() == LEVEL
    assert (found.p <= LEVEL).sum() == 2


def test_claims_are_one_family():
    """A claim that is selective by itself is not beside another in which an untrained network stands out as much."""
    own, twins = torch.tensor([[0.9]]), [torch.tensor([[0.5 + number / 100]]) for number in range(19)]
    other = [torch.tensor([[0.99 if number == 4 else 0.2]]) for number in range(19)]
    alone, both = beside_untrained([own], [twins]), beside_untrained([own, torch.tensor([[0.2]])], [twins, other])
    assert (alone[0].p.item(), both[0].p.item()) == (LEVEL, 2 * LEVEL)


def test_where_nothing_is_known_nothing_is_selective():
    broken = torch.tensor([[float("nan")]])
    (found,) = beside_untrained([broken], [[torch.tensor([[0.1]])] * 19])
    assert not found.p.item() <= LEVEL
    (found,) = beside_untrained([torch.tensor([[0.5]])], [[]])
    assert np.isnan(found.p.item()) and np.isnan(found.highest.item()) and found.twins == 0


PAIRS = np.random.default_rng(3).integers(10, 100, (400, 2)).tolist()
ROWS = ArithmeticDataset(parse_tsv(format_tsv(Problem(x, y, None) for x, y in PAIRS).encode(), "pairs"))
SIZES = {"d_model": 16, "n_layers": 1, "n_heads": 2, "d_ff": 16, "max_len": 32, "dropout": 0.0}


def surveys(rows=ROWS, names=("sum", "x", "summod7f1+3", "y1"), sites=("embed", "resid_post.0", "final")):
    last = rows.positions(["last"])
    return [ClaimSurvey(claim_of(name, rows), rows, sites, last, Split(permutations=0), 16) for name in names]


def networks(seeds):
    return [TinyTransformer(**SIZES).untrained(seed) for seed in seeds]


def test_of_twenty_untrained_networks_one_is_selective_and_against_three_many_are():
    read = ClaimsUntrained(surveys())
    for network in networks(range(MANY)):
        read.read(network)
    every = torch.cat([torch.stack(found).flatten(1) for found in read._found], dim=1)  # (20, cells)
    assert sum(in_turn([one[None] for one in every])) <= 1
    best_of_three = [
        (every[own] > every[[(own + n) % MANY for n in (1, 2, 3)]].amax(dim=0)).any() for own in range(MANY)
    ]
    assert sum(best_of_three) >= 8  # the control: what was asked before


def test_of_many_rows_the_same_few_are_read_of_every_network(monkeypatch):
    monkeypatch.setattr(untrained, "ROWS", 150)
    own, *twins = networks(range(3))
    read, few = ClaimsUntrained(surveys()), surveys()
    for rows in torch.arange(len(ROWS)).split(70):
        states = own.run_with_cache(ROWS.inputs(rows))[1].states
        for observe in read.observers:
            observe(states, rows)
    for twin in twins:
        read.read(twin)
    assert len(read.chosen) == 150 and read.chosen[[0, -1]].tolist() == [0, len(ROWS) - 1]
    states = own.run_with_cache(ROWS.inputs(read.chosen))[1].states
    for survey in few:
        survey.update(states, read.chosen)
    for claim, survey in zip(read.beside([]), few, strict=True):
        torch.testing.assert_close(claim.own, survey.r2())
    monkeypatch.setattr(untrained, "ROWS", len(ROWS))
    assert ClaimsUntrained(surveys()).observers == []  # the control: all are read anyhow


# What a run began with.


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """A short fit's folder and its data."""
    folder = tmp_path_factory.mktemp("fit")
    files = files_in(folder)
    words = fit_words(files, folder)
    assert command(*words, "--seed_everything", 5)[0] == 0
    return run_of(folder), files, words


def test_a_fit_keeps_seed_and_hash_and_its_initialisation_is_rebuilt(fitted):
    loaded = load_model(fitted[0])
    assert loaded.initial.seed == 5 and loaded.initial.file is None
    own = own_initialisation(loaded)
    assert weights_hash(own.model) == loaded.initial.weights != weights_hash(loaded.model)
    kept = json.loads((fitted[0] / "provenance.json").read_text())["initial"]
    assert Initial(**kept) == loaded.initial


def test_a_resumed_fit_keeps_what_the_first_began_with(fitted, tmp_path):
    folder, _, words = fitted
    words = [str(tmp_path) if word == folder.parents[2] else word for word in words]
    more = ("--trainer.max_epochs", 3, "--ckpt_path", folder / "checkpoints" / "last.ckpt", "--seed_everything", 6)
    code, _, err = command(*words, *more)
    assert code == 0, err
    assert load_model(run_of(tmp_path)).initial == load_model(folder).initial


def test_a_fit_from_given_weights_began_with_these(fitted, tmp_path):
    folder, _, words = fitted
    words = [str(tmp_path) if word == folder.parents[2] else word for word in words]
    file = tmp_path / "given.pt"
    torch.save(load_model(folder).model.state_dict(), file)
    code, _, err = command(*words, "--model.weights", file)
    assert code == 0, err
    loaded = load_model(run_of(tmp_path))
    assert weights_hash(own_initialisation(loaded).model) == weights_hash(load_model(folder).model)
    file.unlink()
    with pytest.raises(ArithprobeError, match=r"own initialisation: .*given\.pt: no such file"):
        own_initialisation(loaded)


def test_what_is_rebuilt_otherwise_is_left_out_and_it_is_said(fitted):
    loaded = load_model(fitted[0])
    other = loaded._replace(initial=loaded.initial._replace(seed=6))
    with pytest.raises(ArithprobeError, match=r"seed 6 gives weights \w{16} here, the run began with \w{16} \(another"):
        own_initialisation(other)
    with pytest.raises(ArithprobeError, match="do not say what they began with"):
        own_initialisation(loaded._replace(initial=None))


def test_a_notebook_without_a_seed_keeps_the_hash_all_the_same(fitted, tmp_path):
    torch.default_generator.manual_seed(torch.initial_seed() ^ 77)
    torch.rand(3)  # the network is not the first that is drawn
    module = ArithmeticModule(d_model=16, n_layers=1, n_heads=2, d_ff=32, max_len=32)
    first = weights_hash(module.model)
    data = ArithmeticDataModule(*(str(fitted[1][part]) for part in ("train", "val")))
    quiet = {"accelerator": "cpu", "logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    for _ in range(2):  # a second fit goes on with the first
        Trainer(max_steps=1, limit_val_batches=1, num_sanity_val_steps=0, enable_checkpointing=False, **quiet).fit(
            module, datamodule=data
        )
        assert module.initial.weights == first
    with pytest.raises(ArithprobeError, match=f"here, the run began with {first}"):
        own_initialisation(module.loaded())


@pytest.mark.parametrize("stored", [3, {"seed": 1}, {"seed": "1", "weights": "a", "file": None}])
def test_a_checkpoint_that_says_something_else_is_refused(stored):
    with pytest.raises(ArithprobeError, match=r"a\.ckpt: .*initial weights"):
        Initial.of(stored, "a.ckpt")


def test_a_probe_shows_what_training_changed(fitted):
    loaded, rows = load_model(fitted[0]), ArithmeticDataset.from_tsv(fitted[1]["val"])
    options = ProbeOptions(
        targets=["sum", "x"],
        sites=["final"],
        positions=["last"],
        no_mlp=True,
        twins=4,
        no_ladder=True,
        small_periods=(2,),
        subspace_draws=1,
        fourier_permutations=19,
        folds=3,
    )
    report = probe(loaded, rows, options)
    assert [one.target for one in report.since.differences] == ["sum", "x"]
    for one, scores in zip(report.since.differences, report.ridge, strict=True):
        assert one.r2[-1] == pytest.approx(scores.at("final")["r2"], abs=1e-6)  # the same rows, folds and probes
        torch.testing.assert_close(one.difference, one.r2 - one.other)
        assert (one.low < one.difference).all() and (one.difference < one.high).all()
    assert {one.twins for one in report.twins} == {TABLE_TWINS}
    record = json.loads(to_json(record_of(report)))["since_initialisation"]
    assert record["initial"]["seed"] == 5 and record["cells"][0]["target"] == "sum"
    unknown = probe(loaded._replace(initial=None), rows, options)
    assert unknown.since is None and any(one.startswith("own initialisation: ") for one in unknown.left_out)


# The interval.


def difference_of(seed, sizes, shared, n=1500, step=1):
    """The paired difference of two networks that read the sum with noise, one draw a group of equal sums, or one a row.

    The R2 of a probe is ``1 / (1 + size^2)``, since the noise is in standard deviations of the sum.
    """
    rows, generator = RandomProblems(n, None, seed, step), torch.Generator().manual_seed(seed)
    total = (rows.x + rows.y).double()
    _, group = torch.unique(total, return_inverse=True)
    found = []
    for size in sizes:
        noise = torch.randn(n, generator=generator)
        states = (total - 99) / np.sqrt((100**2 - 1) / 6) + size * (noise[group] if shared else noise)
        states = {"s": states[:, None, None].float()}
        survey = RidgeSurvey(rows, ["s"], rows_at_last(n), [Target("sum", total[:, None])], Split(permutations=0), 1)
        sample = StateSample(rows.lengths, ["s"], 1, n)
        for observe in (survey.update, sample.update):
            observe(states, torch.arange(n))
        found.append((survey, sample))
    return paired_differences(*found)[0]


def rows_at_last(n):
    return PositionTable(("last",), torch.zeros(n, 1).long(), torch.ones(n, 1).bool())


def width(one):
    return (one.high - one.low).item()


def test_the_interval_knows_that_rows_of_one_group_share_their_noise():
    shared, single = (
        np.mean([width(difference_of(seed, (0.3, 0.6), one)) for seed in range(4)]) for one in (True, False)
    )
    assert shared > 2 * single
    same = difference_of(0, (0.0, 0.0), shared=True)
    assert abs(same.difference.item()) < 1e-9 and width(same) < 1e-9


def test_of_few_groups_there_is_no_interval():
    few, enough = (difference_of(0, (0.3, 0.6), True, n=300, step=step) for step in (10, 5))
    assert few.groups < FEWEST_GROUPS <= enough.groups
    assert np.isnan(few.low.item()) and np.isfinite(few.difference.item()) and np.isfinite(enough.low.item())


@pytest.mark.parametrize(
    ("shared", "runs"),
    [(True, 60), pytest.param(True, 400, marks=pytest.mark.long), pytest.param(False, 400, marks=pytest.mark.long)],
)
def test_nineteen_of_twenty_intervals_hold_the_true_difference(shared, runs):
    truth = 1 / (1 + 0.3**2) - 1 / (1 + 0.6**2)
    every = [difference_of(seed, (0.3, 0.6), shared) for seed in range(runs)]
    covered = sum(one.low.item() <= truth <= one.high.item() for one in every)
    print(f"covered {covered / runs:.3f}")
    assert binom.ppf(0.005, runs, 0.92) <= covered <= binom.ppf(0.995, runs, 0.98)
