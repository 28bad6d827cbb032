"""What ``arithprobe sweep`` measures of a trial: every number beside what it would be of nothing."""

import functools
import os
import random
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from planted_rows import some
from scale_rows import QUICK, SMALL, K, network, rows_of, small
from scikit_ridge import by_gcv
from sklearn.decomposition import PCA
from sklearn.linear_model import Ridge
from sklearn.metrics import r2_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from arithprobe.analysis.forward import random_init_twin
from arithprobe.analysis.ladder.causal import CausalRungs
from arithprobe.analysis.scale.options import ScaleOptions
from arithprobe.analysis.scale.probes import ScalePlan
from arithprobe.analysis.scale.run import TWIN_SEED, columns, measure
from arithprobe.data.dataset import ArithmeticDataset
from arithprobe.data.tsv import parse_tsv
from arithprobe.errors import ArithprobeError
from arithprobe.models.objectives import CircularMSE, ResidueCrossEntropy
from arithprobe.planted.circuits import WIDTH, adder, clock
from arithprobe.planted.rungs import many_handed_clock
from arithprobe.probes.nonlinear import MOST_CLASSES
from arithprobe.probes.rare_layouts import rare_rows
from arithprobe.probes.splits import fold_of
from arithprobe.problems.rows import Inputs

ROWS = 500
PROBE = ("r2", "null", "untrained", "untrained_max", "in_sample")
COST = ("probe", "random", "random_low", "random_high", "excess")


@functools.cache
def measured(case, **options):
    loaded, rows = case()
    return measure(loaded, rows, ScaleOptions(**{**QUICK, **options}))


def one_circle():
    return some(clock, ROWS)


def three_circles():
    return some(many_handed_clock, ROWS)


def line():
    return some(adder, ROWS)


def plain_sums():
    return network(), rows_of(modulus=None)


def readout_states(loaded, rows):
    with torch.no_grad():
        _, cache = loaded.model.run_with_cache(Inputs(rows.ids.long(), rows.lengths))
    return cache.states["final"][torch.arange(len(rows)), rows.lengths - 1].double().numpy()


def waves(rows, most):
    angle = 2 * np.pi * (rows.x + rows.y).numpy() / K
    return np.stack([wave(n * angle) for n in range(1, most + 1) for wave in (np.cos, np.sin)], axis=1)


def held_out(states, labels, rows, components=None):
    """scikit-learn's ridge on the other folds, the penalty by generalised cross-validation, column by column."""
    fold, predicted = fold_of(rows.x + rows.y, 5).numpy(), np.empty_like(labels)
    usual = ~rare_rows(rows.layout).numpy()
    for out in range(5):
        train = (fold != out) & usual
        project = (lambda h: h) if components is None else PCA(components).fit(states[train]).transform
        predicted[~train] = by_gcv(project(states[train]), labels[train], project(states[~train]))
    return r2_score(labels[usual], predicted[usual])  # the mean over columns


@pytest.mark.parametrize("components", [None, 5])
@pytest.mark.slow
def test_held_out_scores_are_those_of_scikit_learn_on_the_same_folds(components):
    (loaded, rows), name = small(), "" if components is None else "_k"
    found, states = columns(measured(small, probe_dimension=5, no_mlp=True)), readout_states(loaded, rows)
    for n in (1, 3):
        assert found[f"fourier{n}{name}_r2"] == pytest.approx(
            held_out(states, waves(rows, n), rows, components), abs=1e-7
        )
    total = (rows.x + rows.y).double().numpy()[:, None]
    assert found[f"sum{name}_r2"] == pytest.approx(held_out(states, total, rows, components), abs=1e-7)
    assert found[f"sum{name}_r2"] > 0.3  # not a comparison of nothing with nothing


@pytest.mark.parametrize("components", [None, 5])
def test_in_sample_scores_are_those_of_the_notebooks_pipeline(components):
    (loaded, rows), name = small(), "" if components is None else "_k"
    found, states = columns(measured(small, probe_dimension=5, no_mlp=True)), readout_states(loaded, rows)
    first = [] if components is None else [PCA(components)]
    fit = make_pipeline(*first, StandardScaler(), Ridge(1.0))
    usual = ~rare_rows(rows.layout).numpy()
    states = states[usual]
    for n in (1, 3):
        labels = waves(rows, n)[usual]
        expected = r2_score(labels, fit.fit(states, labels).predict(states))
        assert found[f"fourier{n}{name}_in_sample"] == pytest.approx(expected, abs=1e-7)
        assert expected > found[f"fourier{n}{name}_r2"]  # which it is not held out


def test_untrained_scores_are_those_of_untrained_networks():
    loaded, rows = small()
    twins = [random_init_twin(loaded, TWIN_SEED + 3 + number) for number in range(2)]
    every = [held_out(readout_states(twin, rows), waves(rows, 1), rows) for twin in twins]
    found = columns(measured(small, twins=2, seed=3, no_mlp=True))
    assert found["fourier1_untrained"] == pytest.approx(np.mean(every), abs=1e-6)
    assert found["fourier1_untrained_max"] == pytest.approx(max(every), abs=1e-6)


def noise(width, rows, options):
    """The figures of states that are random numbers."""
    plan, generator = ScalePlan(rows, options), torch.Generator().manual_seed(width)
    surveys = [plan.survey(width, controls=controls) for controls in (True, False)]
    for survey in surveys:
        states = torch.randn(len(rows), 1, width, generator=generator).expand(-1, rows.max_length, -1)
        survey.update({"final": states}, torch.arange(len(rows)))
    return plan.values(surveys[0], surveys[1:])


def test_of_noise_in_sample_scores_grow_with_width_and_at_equal_dimension_not_and_held_out_scores_are_nothing():
    rows, options = rows_of(600), ScaleOptions(**QUICK, probe_dimension=16)
    found = {width: noise(width, rows, options) for width in (16, 64, 256)}
    for probe in ("fourier3", "sum"):
        for width, figures in found.items():
            one, equal = figures[probe], figures[f"{probe}_k"]
            assert one.in_sample == pytest.approx(width / 599, abs=0.06)
            assert equal.in_sample == pytest.approx(16 / 599, abs=0.03)
            for each in (one, equal):
                assert max(each.r2, each.untrained, each.null) < 0.06
        assert found[256][probe].in_sample > 0.3


@pytest.mark.slow
def test_at_equal_dimension_a_model_that_is_not_wider_is_read_whole():
    whole, part = (columns(measured(small, probe_dimension=k, no_mlp=True)) for k in (SMALL["d_model"], 4))
    for probe in ("fourier1", "fourier3", "sum"):
        for name in PROBE:
            assert whole[f"{probe}_k_{name}"] == whole[f"{probe}_{name}"] == part[f"{probe}_{name}"]
            assert part[f"{probe}_k_{name}"] != part[f"{probe}_{name}"]


@pytest.mark.slow
def test_what_is_taken_out_without_being_used_costs_no_more_than_permuted_labels():
    """LEACE of a frequency that is not there takes out what the model uses, by chance; isotropic ones do not."""

    def third():
        return clock((3,))

    found = columns(measured(third, ablate=1, no_mlp=True, twins=1))
    assert found["fourier1_r2"] < 0.05 and found["verdict"] == "PARTLY LEARNED"  # of 161 sums, all right
    assert found["forward_probe"] - found["forward_random"] > 0.5
    assert found["forward_excess"] < 0.1


@pytest.mark.slow
def test_a_circle_that_answers_are_read_from_is_found_and_used_and_random_subspaces_are_not():
    found = columns(measured(one_circle, ablate=1, probe_dimension=32, twins=2))
    assert (found["ablated"], found["ablated_rank"]) == (f"residuemod{K}f1", 2)
    assert found["verdict"] == "PARTLY LEARNED"  # of 161 sums, all right
    for name in ("fourier1", "fourier1_k"):
        assert found[f"{name}_r2"] > 0.99
        assert max(found[f"{name}_null"], found[f"{name}_untrained_max"]) < 0.05
    assert found["fourier3_r2"] < 0.5  # frequencies 2 and 3 are not planted
    assert found["forward_probe"] > 0.9
    assert max(abs(found[f"forward_{name}"]) for name in ("random", "random_high", "matched")) < 0.05
    assert found["refit_probe"] > 0.5
    assert abs(found["refit_random_high"]) < 0.05
    assert found["forward_shuffled"] < 0.5  # the null of the erasure itself, which isotropic subspaces are none of
    for cost, null in (("forward", "shuffled"), ("refit", "random")):
        assert found[f"{cost}_excess"] == found[f"{cost}_probe"] - found[f"{cost}_{null}"]
        assert found[f"{cost}_random_low"] <= found[f"{cost}_random"] <= found[f"{cost}_random_high"]
    assert found["mlp_score"] > 0.95
    assert max(found["mlp_null"], found["mlp_untrained"]) < 0.3


@pytest.mark.slow
def test_a_circle_with_others_to_fall_back_on_is_found_and_costs_the_answers_nothing():
    found = columns(measured(three_circles, ablate=1, no_mlp=True, twins=1))
    assert found["fourier1_r2"] > 0.99
    assert abs(found["forward_probe"]) < 0.05  # 0.96 where it is the only one, see above
    without_all = columns(measured(three_circles, ablate=6, no_mlp=True, twins=1))
    assert without_all["forward_probe"] > 0.9


@pytest.mark.parametrize(("case", "target", "most"), [(one_circle, "residuemod13f1to2", 400), (line, "sum", 2000)])
@pytest.mark.slow
def test_the_forward_pass_loses_what_the_ladder_of_evidence_says(case, target, most):
    loaded, rows = case()
    found = columns(measured(case, max_examples=most, no_mlp=True, twins=1))
    evidence = CausalRungs(loaded, rows, [target], ["final"], 19, most, 0).at(target, "final")
    isotropic, outside, _ = evidence.random
    assert found["ablated"] == target
    assert found["forward_probe"] == pytest.approx(1 - evidence.skill_left, abs=1e-6)
    assert found["forward_probe"] > 0.5
    assert found["forward_random"] == pytest.approx(isotropic.skill_lost, abs=1e-6)
    expected = None if np.isnan(outside.skill_lost) else pytest.approx(outside.skill_lost, abs=1e-6)
    assert found["forward_matched"] == expected


@pytest.mark.slow
def test_a_network_that_was_never_trained_has_no_skill_to_lose_and_says_so():
    found = measured(small)
    assert found.behaviour.verdict == "NOT LEARNED"
    assert (found.forward, found.forward_matched) == (None, None)
    assert any(reason.startswith("forward pass: ") and "NOT LEARNED" in reason for reason in found.left_out)
    assert not measured(one_circle, ablate=1, probe_dimension=32, twins=2).left_out


def test_rows_that_are_too_few_for_an_intervention_leave_it_out_and_say_how_many_are_needed():
    found = measured(lambda: clock(rows=150), twins=1, no_mlp=True)
    assert found.forward is None
    assert found.behaviour.verdict == "PARTLY LEARNED"  # of few sums, all right
    assert any(f"need {WIDTH + 1}" in reason for reason in found.left_out)
    assert found.probes["fourier1"].r2 > 0.9  # the probes do not need so many


def test_rows_that_are_too_few_for_the_folds_are_refused_in_one_line():
    few = "\n".join(f"{x} + 1 (mod {K}) = ?\t{(x + 1) % K}" for x in range(4))
    with pytest.raises(ArithprobeError, match=r"few has 4 different values of 'sum'.*use fewer folds") as raised:
        measure(network(), ArithmeticDataset(parse_tsv(f"{few}\n".encode(), "few")), ScaleOptions(**QUICK))
    assert "\n" not in str(raised.value)


def names(*probes):
    found = [
        "parameters",
        "rows",
        "probe_dimension",
        "verdict",
        "skill",
        "skill_low",
        "skill_high",
        "exact_match",
        "rmse",
        "r2",
        "ablated",
        "ablated_rank",
        "forward_matched",
        "forward_shuffled",
    ]
    found += [f"{probe}{part}_{name}" for probe in probes for part in ("", "_k") for name in PROBE]
    found += [f"{cost}_{name}" for cost in ("refit", "forward") for name in COST]
    return {*found, *(f"mlp_{name}" for name in ("score", "kind", "linear", "null", "untrained"))}


@pytest.mark.slow
def test_columns_have_the_names_of_the_table_with_a_modulus_and_without():
    found = columns(measured(small))
    assert found.keys() == names("fourier1", "fourier3", "sum")
    assert (found["mlp_kind"], found["ablated"], found["rows"]) == ("accuracy", f"residuemod{K}f1to2", 300)
    assert found["parameters"] == sum(one.numel() for one in small()[0].model.parameters())
    found = columns(measured(plain_sums))
    assert found.keys() == names("sum")
    assert (found["mlp_kind"], found["ablated"], found["ablated_rank"]) == ("r2", "sum", 1)


def test_what_is_missing_has_a_column_without_value_and_everything_else_a_number():
    found = columns(measured(small, no_mlp=True, twins=1))
    empty = {name for name, value in found.items() if value is None}
    assert empty == {name for name in names() if name.startswith(("forward", "mlp"))}
    for name, value in found.items():
        assert isinstance(value, str) == (name in ("verdict", "ablated")) or value is None
        assert value is None or isinstance(value, str) or np.isfinite(value)


def test_frequencies_above_half_the_modulus_are_left_out_with_the_reason():
    found = measured(small, frequencies=(6, 7), ablate=9, no_mlp=True, twins=1)
    flat = columns(found)
    assert flat["fourier6_r2"] is not None
    assert [flat[f"fourier7{part}_{name}"] for part in ("", "_k") for name in PROBE] == [None] * 10
    assert any(reason.startswith("fourier7: ") for reason in found.left_out)
    assert (found.ablated, found.ablated_rank) == (f"residuemod{K}f1to6", 12)


@pytest.mark.parametrize("objective", [CircularMSE(K, (1, 2)), ResidueCrossEntropy(K)])
def test_models_that_answer_residues_are_measured(objective):
    found = columns(measure(network(objective), rows_of(), ScaleOptions(**QUICK, no_mlp=True, twins=1)))
    assert found["verdict"] == "NOT LEARNED"
    assert isinstance(found["fourier1_r2"], float)


def test_residues_too_many_to_tell_apart_are_a_regression():
    many = MOST_CLASSES + 11
    found = columns(measure(network(), rows_of(modulus=many, largest=300), ScaleOptions(**QUICK, twins=1)))
    assert found["mlp_kind"] == "r2"
    assert found["mlp_score"] < 0.9


@pytest.mark.slow
def test_the_same_checkpoint_gives_the_same_bits_and_no_random_state_is_touched():
    loaded, rows = small()
    states = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()
    again = measure(loaded, rows, ScaleOptions(**QUICK))
    assert again == measured(small)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert (np.random.get_state()[1].tolist(), random.getstate()) == states[1:]
    other = columns(measure(loaded, rows, ScaleOptions(**QUICK, seed=1, no_mlp=True)))
    assert other["fourier1_null"] != columns(again)["fourier1_null"]
    assert other["fourier1_r2"] == columns(again)["fourier1_r2"]


@pytest.mark.long
def test_another_process_gives_the_same_bits():
    """In the suite, trials that are measured on Ray have the measures of trials in this process."""
    threads = f"import gc; gc.disable(); import torch; torch.set_num_threads({torch.get_num_threads()})"
    words = f"{threads}; from scale_rows import bits; print(bits())"
    place = Path(__file__).parent
    done = subprocess.run(
        [sys.executable, "-c", words],
        capture_output=True,
        text=True,
        check=True,
        cwd=place,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(place), str(place.parent)])},
    )
    assert done.stdout.strip() == repr(columns(measured(small)))


@pytest.mark.slow
def test_options_are_made_without_pytorch():
    words = (
        "import sys; import arithprobe.analysis.scale.options; print('torch' in sys.modules, 'numpy' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", words], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"frequencies": ()}, "frequencies"),
        ({"frequencies": (3, 1)}, "ascending"),
        ({"frequencies": (0,)}, "from 1"),
        ({"frequencies": (1, 49)}, "to 48"),
        ({"frequencies": (2, 2)}, "ascending"),
        ({"ablate": 49}, "ablate"),
        ({"permutations": 18}, "permutations"),
        ({"draws": 18}, "draws"),
        ({"twins": 0}, "twins"),
        ({"probe_dimension": 0}, "probe_dimension"),
        ({"folds": 2}, "folds"),
        ({"seed": 2**32}, "seed"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(ArithprobeError, match=f"measure: .*{message}"):
        ScaleOptions(**options)
    assert ScaleOptions(**QUICK).draws == asdict(ScaleOptions(**QUICK))["draws"] == 19
