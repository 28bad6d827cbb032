"""Networks that are not this library's own, and rows that are no sums, for the tests of both protocols."""

import torch
from torch import nn
from torch.utils.data import Dataset

from arithprobe.data.dataset import Batch
from arithprobe.data.tokens import TokenDataset
from arithprobe.errors import ArithprobeError
from arithprobe.models.hooked import HookedNetwork
from arithprobe.problems.positions import position_table
from arithprobe.problems.rows import Inputs

P = 11
SITES = {
    "embed": {"module": "qkv", "side": "input"},
    "z.0": {"module": "out", "side": "input", "n_heads": 2},
    "attn_out.0": "out",
    "resid_mid.0": {"module": "up", "side": "input"},
    "mlp_act.0": "act",
    "mlp_out.0": "down",
    "resid_post.0": {"module": "scores", "side": "input"},
}


class OneLayer(nn.Module):
    """Tokens a, b, =; causal attention, an MLP with ReLU, no norm; scores (B, T, P)."""

    def __init__(self, d=8, heads=2, d_ff=12, p=P, dropout=0.0):
        super().__init__()
        self.heads = heads
        self.tokens, self.places = nn.Embedding(p + 1, d), nn.Embedding(3, d)
        self.qkv, self.out = nn.Linear(d, 3 * d), nn.Linear(d, d)
        self.up, self.act, self.down = nn.Linear(d, d_ff), nn.ReLU(), nn.Linear(d_ff, d)
        self.dropout = nn.Dropout(dropout)
        self.scores = nn.Linear(d, p)

    def forward(self, ids):
        x = self.tokens(ids) + self.places.weight[: ids.shape[1]]
        q, k, v = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in self.qkv(x).chunk(3, dim=-1))
        z = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.dropout(self.out(z.transpose(1, 2).flatten(2)))
        x = x + self.down(self.act(self.up(x)))
        return self.scores(x)


def pairs(p=P, first=0):
    return torch.cartesian_prod(torch.arange(first, p), torch.arange(first, p))


def token_rows(some=None, p=P, path="pairs"):
    a, b = (pairs(p) if some is None else some).T

    def encode(a, b):
        return torch.stack([a, b, torch.full_like(a, p)], dim=1)

    return TokenDataset(a, b, p, encode, ("x1", "y1", "query"), path)


def hooked(module=None, sites=None, factory=OneLayer, seed=0, **options):
    torch.manual_seed(seed)
    module = OneLayer() if module is None else module
    given = {"example": token_rows().ids[:2], "factory": factory} | options
    return HookedNetwork(module, SITES if sites is None else sites, **given).eval()


class Products(Dataset):
    """``a * b mod p``: rows of which nobody knows a counterfactual but that of the answer itself."""

    task, circle, answer = f"a * b (mod {P})", P, "product"
    quantities, groups, names = ("product", "a", "b"), ("product", "a", "b"), ("a", "b", "product")
    changes, roles, path = (), (("a", "b", "equals"),), "products"

    def __init__(self, a, b):
        self.columns = {"a": a, "b": b, "product": a * b % P}
        self.answers, self.lengths = self.columns["product"], torch.full_like(a, 3)
        self.layout = torch.zeros_like(a)

    def __len__(self):
        return len(self.answers)

    def __getitem__(self, row):
        return self.__getitems__([row])

    def __getitems__(self, rows):
        rows = torch.as_tensor(rows)
        return Batch(*self.inputs(rows), self.answers[rows], rows)

    def inputs(self, rows):
        a, b = self.columns["a"][rows], self.columns["b"][rows]
        return Inputs(torch.stack([a, b, torch.full_like(a, P)], dim=1), self.lengths[rows])

    def at(self, rows):
        return Products(self.columns["a"][rows], self.columns["b"][rows])

    def values(self, name):
        if name not in self.columns:
            raise ArithprobeError(f"no target {name!r} in this data (targets: {', '.join(self.names)})")
        return self.columns[name]

    def group_of(self, name):
        return name if name in self.columns else "product"

    def group(self, name):
        whole = self.columns["a"] * P + self.columns["b"]
        return whole if name == "pair" else self.columns[self.group_of(name)]

    def positions(self, names):
        return position_table(names, self.lengths, self.layout, self.roles)

    def texts(self, rows=None):
        some = self if rows is None else self.at(rows)
        return [f"{a} * {b}" for a, b in zip(some.columns["a"].tolist(), some.columns["b"].tolist(), strict=True)]

    def surface(self):
        ids = self.inputs(torch.arange(len(self))).ids
        return {"tokens": torch.cat([column[:, None] == torch.unique(column) for column in ids.T], dim=1)}

    def counterfactual(self, name, rows, donors):
        return self.answers[donors] if name == "product" else None

    def per_unit(self, name):
        return None

    def changed(self, change, amount, rows):
        return None

    def constant(self, train_mean):
        return float(self.answers.double().mean()) if train_mean is None else train_mean
