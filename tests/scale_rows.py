"""A small network and its rows, and every digit that is measured of them; imports little, for another process."""

import torch

from arithprobe.analysis.scale.options import ScaleOptions
from arithprobe.analysis.scale.run import columns, measure
from arithprobe.data.dataset import ArithmeticDataset
from arithprobe.data.sampling import DataRecipe, sample
from arithprobe.data.tsv import format_tsv, parse_tsv
from arithprobe.models.checkpoints import LoadedModel
from arithprobe.models.objectives import ScaledMSE
from arithprobe.models.transformer import TinyTransformer

K = 13
SMALL = {"d_model": 16, "n_layers": 2, "n_heads": 2, "d_ff": 32}
QUICK = {"frequencies": (1, 3), "ablate": 2, "permutations": 19, "draws": 19, "mlp_shuffles": 1, "mlp_hidden": 8}


def rows_of(count=300, modulus=K, largest=150):
    task = {} if modulus is None else {"task": "mod", "modulus": modulus}
    recipe = DataRecipe(rows=2 * count, val_fraction=0.5, max_operand=largest, **task)
    return ArithmeticDataset(parse_tsv(format_tsv(sample(recipe)["val"].problems(recipe)).encode(), "rows"))


def network(objective=None, seed=5):
    objective = objective or ScaledMSE()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = TinyTransformer(**SMALL, n_outputs=objective.n_outputs, dropout=0.0)
    return LoadedModel("small", "random", model.eval().requires_grad_(False), objective, None, None)


def small():
    return network(), rows_of()


def bits():
    """Every digit."""
    return repr(columns(measure(*small(), ScaleOptions(**QUICK))))
