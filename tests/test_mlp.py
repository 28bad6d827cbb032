"""MLP probes in one stack, against one by one and against plain torch; and what they may and may not find."""

import dataclasses
import itertools

import numpy as np
import pytest
import torch
from scipy.stats import binom
from torch import nn

from arithprobe.errors import ArithprobeError
from arithprobe.probes.mlp import MLPSettings, fit_ensemble
from arithprobe.probes.nonlinear import mlp_scores
from arithprobe.probes.splits import fold_of

pytestmark = pytest.mark.slow(seconds=0.1)

N, S, D = 300, 2, 6
SHORT = MLPSettings(hidden=16, lr=1e-2, batch_size=32, max_epochs=12, patience=3)
TRAIN, STOP = torch.arange(N) < 200, (torch.arange(N) >= 200) & (torch.arange(N) < 250)
REPORTED = ~(TRAIN | STOP)


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(params=[None, 3], ids=["regression", "classification"])
def task(request):
    """States, sites of 5 models in no order, labels of every difficulty."""
    states, site = drawn(S, N, D) * 5 + 3, torch.tensor([1, 0, 1, 1, 0])
    share = torch.linspace(0, 1, 5, dtype=torch.float64)[:, None]
    labels = share * states[site, :, 0] + (1 - share) * 5 * drawn(5, N, seed=1) + 100
    if request.param is not None:
        labels = torch.bucketize(labels, torch.tensor([101.0, 104.0], dtype=torch.float64))
    return states, site, labels, request.param


def plain(states, labels, n_classes, settings):
    """One model with autograd, Sequential and AdamW: predictions, and the epoch it keeps."""
    x = states.double()
    x = ((x - x[TRAIN].mean(0)) / x[TRAIN].std(0, correction=0)).float()
    mean, scale = (labels[TRAIN].mean(), labels[TRAIN].std(correction=0)) if n_classes is None else (0, 1)
    y = labels if n_classes else ((labels - mean) / scale).float()[:, None]
    loss_of = nn.functional.cross_entropy if n_classes else nn.functional.mse_loss
    generator = torch.Generator().manual_seed(settings.seed)
    widths, layers = [x.shape[1], *[settings.hidden] * settings.depth, n_classes or 1], []
    for inputs, outputs in itertools.pairwise(widths):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
        with torch.no_grad():
            for parameter in layers[-2].parameters():
                parameter.copy_((2 * torch.rand(parameter.shape, generator=generator) - 1) / inputs**0.5)
    net = nn.Sequential(*layers[:-1])
    optimiser = torch.optim.AdamW(net.parameters(), lr=settings.lr, weight_decay=settings.weight_decay)
    generator = torch.Generator().manual_seed(settings.seed + 1)
    best, kept, output = float("inf"), 0, None
    for epoch in range(1, settings.max_epochs + 1):
        for rows in torch.randperm(int(TRAIN.sum()), generator=generator).split(settings.batch_size):
            optimiser.zero_grad()
            loss_of(net(x[TRAIN][rows]), y[TRAIN][rows]).backward()
            optimiser.step()
        with torch.no_grad():
            loss = loss_of(net(x[STOP]), y[STOP]).item()
            if loss < best:
                best, kept, output = loss, epoch, net(x)
        if epoch - kept >= settings.patience:
            break
    return (output.argmax(1) if n_classes else output[:, 0].double() * scale + mean), kept


def agree(first, second):
    if first.dtype == torch.int64:
        return (first == second).double().mean() > 0.995  # a tie of two classes may fall either way
    return torch.allclose(first, second, rtol=0, atol=2e-2)  # labels of about 100 with a spread of 5


@pytest.mark.parametrize("depth", [1, 2])
def test_every_model_is_the_one_plain_torch_trains(task, depth):
    states, site, labels, n_classes = task
    settings = dataclasses.replace(SHORT, depth=depth)
    ensemble = fit_ensemble(*task, TRAIN, STOP, settings)
    predicted = ensemble.predict(states)
    epochs = []
    for model in range(5):
        expected, epoch = plain(states[site[model]], labels[model], n_classes, settings)
        assert agree(predicted[model], expected)
        epochs.append(epoch)
    assert ensemble.epochs.tolist() == epochs
    assert len(set(epochs)) > 1  # some stopped before others


def test_an_ensemble_is_its_models_one_by_one(task):
    states, site, labels, n_classes = task
    together = fit_ensemble(*task, TRAIN, STOP, SHORT)
    for model in range(5):
        alone = fit_ensemble(states, site[[model]], labels[[model]], n_classes, TRAIN, STOP, SHORT)
        assert alone.epochs[0] == together.epochs[model]
        assert agree(alone.predict(states)[0], together.predict(states)[model])
    other = fit_ensemble(*task, TRAIN, STOP, dataclasses.replace(SHORT, seed=5))
    assert not agree(other.predict(states), together.predict(states))


def test_reported_rows_decide_nothing(task):
    states, site, labels, n_classes = task
    before = fit_ensemble(*task, TRAIN, STOP, SHORT)
    states, labels = states.clone(), labels.clone()
    states[:, REPORTED], labels[:, REPORTED] = 1e6, 0
    after = fit_ensemble(states, site, labels, n_classes, TRAIN, STOP, SHORT)
    assert all(torch.equal(one, two) for one, two in zip(before.weights, after.weights, strict=True))
    labels[:, STOP] = 1 - labels[:, STOP].clamp(max=1)
    control = fit_ensemble(states, site, labels, n_classes, TRAIN, STOP, SHORT)
    assert not torch.equal(control.epochs, after.epochs)  # stop rows do


def test_it_trains_inside_validation_and_leaves_the_random_state_alone(task):
    outside = fit_ensemble(*task, TRAIN, STOP, SHORT)
    before = torch.random.get_rng_state(), np.random.get_state()[1].tolist()
    with torch.inference_mode():
        states = task[0] * 1.0
        inside = fit_ensemble(states, *task[1:], TRAIN, STOP, SHORT)
        predicted = inside.predict(states)
    assert torch.equal(predicted, outside.predict(task[0]))
    assert not predicted.is_inference()
    assert torch.equal(torch.random.get_rng_state(), before[0])
    assert np.random.get_state()[1].tolist() == before[1]


def scores_of(states, values, kind="regression", group=None, pair=None, **options):
    n = len(values)
    settings = options.pop("settings", MLPSettings(hidden=32, lr=5e-3, batch_size=64, max_epochs=60, patience=8))
    group = torch.arange(n) if group is None else group
    pair = torch.arange(n) if pair is None else pair
    names = [str(site) for site in range(len(states))]
    return mlp_scores(states, names, "thing", values.double(), group, pair, kind, settings=settings, **options)


def test_what_needs_hidden_units_is_found_by_them_only():
    """Site 0 holds two signs, whose product is the label; site 1 holds the label; site 2 nothing."""
    states, signs = drawn(3, 800, 5), drawn(800, 2, seed=1).sign()
    product = signs.prod(dim=1)
    states[0, :, :2] = signs + 0.3 * states[0, :, :2]
    states[1, :, 0] = product + 0.3 * drawn(800, seed=2)
    for kind, chance in (("regression", 0.0), ("classification", 0.55)):
        scores = scores_of(states, product, kind, shuffles=4)
        assert (scores.score[:2] > 0.7).all()
        assert scores.score[2] < scores.high[2] < chance + 0.15
        assert scores.ridge[0] < chance + 0.1 < 0.7 < scores.ridge[1]
        assert (scores.null.mean(dim=1) < chance + 0.05).all()
        assert ((scores.low < scores.score) & (scores.score <= scores.high)).all()
        assert scores.p[:2].tolist() == [0.2, 0.2]
        assert (scores.n_train + scores.n_stop + scores.n_test, scores.metric) == (
            800,
            "accuracy" if kind == "classification" else "r2",
        )


def test_of_noise_one_in_twenty_is_significant():
    n, sites, runs = 200, 5, 24
    settings = MLPSettings(hidden=8, lr=1e-2, batch_size=64, max_epochs=6, patience=3)
    hits, null = 0, []
    for run in range(runs):
        values = drawn(n, seed=100 + run)
        scores = scores_of(drawn(sites, n, 4, seed=run), values, settings=settings, shuffles=19, seed=run)
        hits += int((scores.p <= 0.05).sum())
        null.append(scores.null.mean().item())
    low, high = binom.interval(0.999, sites * runs, 0.05)
    assert low <= hits <= high
    assert sum(null) / runs < 0  # honest labels of chance cannot be predicted, not even a little


@pytest.mark.parametrize("kind", ["regression", "classification"])
def test_a_probe_is_selective_where_states_do_not_tell_types_apart(kind):
    """Site 0 names the type, one unit each; site 1 holds the label and no more."""
    n, n_types = 1200, 30
    types = torch.arange(n) % n_types
    label = (types % 4).double()
    states = 0.1 * drawn(2, n, n_types)
    states[0] += 3 * nn.functional.one_hot(types, n_types)
    states[1, :, 0] += label
    scores = scores_of(states, label, kind, group=types, shuffles=1)
    assert (scores.task_on_pairs > 0.9).all()
    assert scores.control_on_pairs[0] > 0.9
    assert abs(scores.selectivity[0]) < 0.1
    assert scores.selectivity[1] > 0.4
    assert scores.n_pairs > 150
    lonely = scores_of(states, label, kind, group=types, types=torch.arange(n), shuffles=1)
    assert torch.isnan(lonely.selectivity).all()  # no type recurs, no control task
    assert lonely.n_pairs == 0


def test_types_and_groups_stay_on_their_side():
    """States name the group and labels belong to groups: memorising is worth nothing on reported groups."""
    n, n_groups = 1200, 60
    group = torch.arange(n) % n_groups
    values = drawn(n_groups, seed=4)[group]
    states = 3 * nn.functional.one_hot(group, n_groups).float()[None]
    scores = scores_of(states, values, group=group, shuffles=1)
    assert scores.score[0] < 0.1 < 0.9 < scores.task_on_pairs[0]
    assert scores.n_test == int((fold_of(group, 10) < 2).sum())


def test_a_wrapped_error_is_measured_round_the_circle():
    angle = torch.arange(970) % 97
    states = torch.stack([torch.cos(angle * 2 * torch.pi / 97), torch.sin(angle * 2 * torch.pi / 97)], dim=1)[None]
    settings = MLPSettings(hidden=64, lr=2e-2, max_epochs=80, patience=80)
    scores = scores_of(states, angle, "classification", modulus=97, tolerance=3, shuffles=1, settings=settings)
    assert scores.within[0] > 0.8 > 0.3 > scores.null_within[0, 0]
    assert scores.circular_error[0] < 4 < 20 < 97 / 4
    assert scores.n_classes == 97
    cell = next(scores.cells())
    assert cell["score"] == scores.score[0].item()
    assert cell["n_classes"] == 97


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"states": torch.full((1, 100, 2), torch.nan)}, "the states at 0 are not all finite numbers"),
        ({"states": torch.zeros(1, 90, 2)}, r"states are \(1, 90, 2\); expected \(1 sites, 100 rows, D\)"),
        ({"values": torch.ones(100)}, "'thing': the labels are constant"),
        (
            {"values": torch.arange(300.0), "states": torch.zeros(1, 300, 2), "kind": "classification"},
            "'thing': 300 distinct values; classification takes up to 200: use regression",
        ),
        ({"group": torch.arange(100) % 9}, "9 groups make .* expected 10 groups or more"),
        ({"pair": torch.zeros(100).long()}, "1 pairs make .* expected 10 pairs or more"),
        ({"kind": "ranking"}, "kind is 'ranking'; expected 'regression' or 'classification'"),
        ({"shuffles": 0}, "shuffles is 0; expected 1 or more"),
    ],
)
def test_rows_that_cannot_be_probed_are_refused(change, message):
    with pytest.raises(ArithprobeError, match=message) as raised:
        scores_of(**{"states": drawn(1, 100, 2), "values": torch.arange(100.0)} | change)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("change", [{"depth": 0}, {"lr": 0.0}, {"weight_decay": -1.0}, {"patience": 0}, {"seed": -1}])
def test_impossible_settings_are_refused(change):
    with pytest.raises(ArithprobeError, match=next(iter(change))):
        MLPSettings(**change)


def test_an_ensemble_needs_rows_of_both_kinds(task):
    with pytest.raises(ArithprobeError, match="no row in both"):
        fit_ensemble(*task, TRAIN, TRAIN, SHORT)
