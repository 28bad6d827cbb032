"""Results of interventions and of Fourier probes made up number by number."""

import math
from dataclasses import replace

import torch

from arithprobe.behaviour import judge_rows
from arithprobe.interventions.ablation import AblationEffect, RandomFamily
from arithprobe.interventions.interchange import Interchange
from arithprobe.interventions.ledger_row import LedgerRow
from arithprobe.interventions.patching import PatchingMap, Recovered
from arithprobe.interventions.steering_curve import SteeringCurve
from arithprobe.interventions.symmetry import SymmetryTest
from arithprobe.probes.circles import FourierScores
from arithprobe.probes.scores import CellScores
from arithprobe.problems.circles import Circle

NAN = math.nan
ANSWERS = torch.arange(200)
FAILED = judge_rows(ANSWERS.flip(0).double(), ANSWERS, 99.5)
LEARNED = judge_rows(ANSWERS.double(), ANSWERS, 99.5)
NO_MATCH = "3 of the 20 subspaces wanted change last as much as this one, within 10%; the nearest changes it 2 times"


def draws(*ends, n=20):
    return torch.linspace(*ends, n, dtype=torch.float64)


def family(name="matched", rmse=(0.0, 2.0), lost=(0.0, 0.2), p=0.05, note=""):
    n = 0 if note == NO_MATCH else 20
    null = name != "isotropic"
    return RandomFamily(
        name, draws(*rmse, n=n), draws(*lost, n=n), torch.ones(n), 0.01, null, p if null else NAN, 50.0, note
    )


def effect(lost=0.5, rmse=10.0, families=None, kind="mean"):
    families = (family("isotropic", (-1.0, 1.0)), family()) if families is None else families
    intervals = {"interval": (rmse - 2.0, rmse + 2.0), "fit_blocks": 10, "lost_interval": (lost - 0.2, lost + 0.2)}
    return AblationEffect(
        kind=kind,
        n=100,
        rmse=rmse,
        delta_rmse=rmse,
        delta_loss=0.1,
        skill=0.5,
        skill_lost=lost,
        exact_match=0.1,
        delta_exact_match=-0.1,
        removed=3.0,
        displaced=0.25,
        families=families,
        **intervals,
    )


def row(site="embed", position="last", subspace="sum:probe", r2=0.5, near=False, **about):
    return LedgerRow(
        site=site,
        position=position,
        subspace=subspace,
        target=subspace.split(":")[0],
        rank=1,
        best_position="last",
        held_out_r2=r2,
        mlp_r2=NAN,
        effects=(effect(**about),),
        refit_mse=1.0,
        refit_delta_mse=0.1,
        refit_r2=0.9,
        residual_r2_linear=0.0,
        residual_r2_mlp=NAN,
        steering=None,
        interchange=None,
        near_tautological=near,
    )


def unlearned(one):
    """As it is where there was no skill to lose."""
    (known,) = one.effects
    lost = [replace(part, skill_lost=torch.full_like(part.skill_lost, NAN)) for part in known.families]
    return replace(one, effects=(replace(known, skill_lost=NAN, families=tuple(lost)),))


def curve(site="embed", target="sum", positions=("last",), response=0.5, random=20):
    deltas = torch.tensor([-3.0, -1.0, -0.1, 0.1, 1.0, 3.0], dtype=torch.float64)
    at = response * deltas
    return SteeringCurve(
        target,
        site,
        positions,
        deltas,
        1.0,
        at,
        at - 0.1,
        at + 0.1,
        torch.zeros(6),
        Recovered(response, 0.4, 0.6),
        10,
        draws(-0.1, 0.2, n=random),
        (-1.0, 1.0),
        (-3.0, 3.0),
    )


def swap(share=0.8, whole=1.0, row_space=0.7, p=0.05, random=20):
    recovered = Recovered(share, share - 0.1, share + 0.1)
    return Interchange(100, 12.5, recovered, 10, 0.0, whole, 0.0, draws(-0.1, 0.1, n=random), p, row_space, 0.0, 0)


def change(kind="x + d, y - d", d=1, demanded=0.0, share=0.1, distance=2.0, unrelated=40.0, hidden=0.2):
    states = {"embed": NAN, "final": hidden}
    return SymmetryTest(kind, d, 50, demanded, Recovered(share, share - 1, share + 1), distance, unrelated, states)


def patched(recovered=((0.5, NAN), (-0.04, 12.3))):
    found = torch.tensor(recovered, dtype=torch.float64)
    sites, positions = ("embed", "final")[: len(found)], ("x10", "last")[: found.shape[1]]
    return PatchingMap(sites, positions, found, found, found, (5, 7)[: found.shape[1]], 30.0)


def circle(r2=(0.999, 0.4, -0.01), p=(0.01, 0.01, 0.9), lead=(5.0, 0.0, 0.0), quantity="residue", period=7):
    """One circle at one site, a score a frequency."""
    n = len(r2)
    given = {"r2": r2, "p": p, "lead": lead}
    values = {name: torch.tensor(one, dtype=torch.float64).view(n, 1, 1) for name, one in given.items()}
    like = torch.full((n, 1, 1), 0.01, dtype=torch.float64)
    names = ("low", "high", "r2_in_sample", "n_train", "n_test", "n_groups", "edf", "alpha")
    names += ("alpha_at_smallest", "alpha_at_largest")
    cells = tuple(
        CellScores(
            "fourier",
            f"f{f}",
            "sum",
            ("final",),
            ("last",),
            one,
            skill=one,
            null=torch.zeros(1, 1, 20),
            **{name: torch.full((1, 1), 100.0, dtype=torch.float64) for name in names},
        )
        for f, one in enumerate(values["r2"])
    )
    return FourierScores(
        Circle(quantity, period, tuple(range(1, n + 1))),
        (),
        cells,
        values["r2"],
        like[0],
        torch.zeros(1, 1, 20),
        torch.full((1, 1, 20), 0.02),
        values["p"],
        values["p"],
        like,
        torch.zeros(1, 1, 20),
        like > 1,
        like,
        like,
        like[0],
        like,
        values["lead"],
    )
