"""Labels are kept by their distinct values: the same labels, in memory that hardly grows with the rows."""

import gc

import numpy as np
import pytest
import torch

from arithprobe.data.problem_rows import ProblemRows
from arithprobe.probes.claims import Claim, ClaimSurvey
from arithprobe.probes.repeated import Repeated, RepeatedColumns
from arithprobe.probes.splits import PermutedRows
from arithprobe.probes.survey import Split
from arithprobe.problems.circles import Circle
from arithprobe.problems.grammar import Layout
from arithprobe.problems.positions import PositionTable
from arithprobe.problems.quantities import Sums

ROWS = torch.tensor([5, 0, 0, 499, 17])


def few(n, distinct, k, seed):
    """Values of which few are distinct."""
    generator = torch.Generator().manual_seed(seed)
    table = torch.randn(distinct, k, generator=generator, dtype=torch.float64)
    return table[torch.randint(distinct, (n,), generator=generator)]


@pytest.mark.parametrize("distinct", [1, 2, 97, 300, 10_000])
def test_values_are_the_same_whatever_repeats(distinct):
    values = few(500, distinct, 3, distinct)
    kept = Repeated.of(values)
    assert torch.equal(kept.whole, values)
    assert torch.equal(kept[ROWS], values[ROWS])
    assert (kept.index is None) == (distinct > 500)
    assert len(kept.table) == (500 if kept.index is None else len(torch.unique(values, dim=0)))


@pytest.mark.parametrize("odd", [torch.nan, torch.inf, -0.0])
def test_odd_values_are_the_same(odd):
    values = few(500, 4, 2, 0)
    values[::3, 1] = odd
    assert torch.equal(Repeated.of(values).whole.nan_to_num(9.0), values.nan_to_num(9.0))


@pytest.mark.parametrize("distinct", [1, 97, 10_000])
def test_mean_and_variance_are_those_of_all_rows(distinct):
    values = few(500, distinct, 3, distinct)
    kept = Repeated.of(values)
    torch.testing.assert_close(kept.mean, values.mean(dim=0))
    torch.testing.assert_close(kept.variance, values.var(dim=0))


def test_an_index_is_shared_where_it_holds_and_only_there():
    sums = torch.arange(500) % 40
    own = Repeated.of(sums[:, None].double())
    coarser, finer = (sums % 7)[:, None].double(), torch.stack([sums, torch.arange(500) % 3], dim=1).double()
    assert Repeated.of(coarser, own).index is own.index
    assert torch.equal(Repeated.of(coarser, own).whole, coarser)
    assert Repeated.of(finer, own).index is not own.index
    assert torch.equal(Repeated.of(finer, own).whole, finer)


def test_columns_side_by_side_are_looked_up_as_if_they_were_whole():
    parts = [few(500, 9, 2, 0), few(500, 9, 1, 0), few(500, 400, 3, 1), few(500, 5, 2, 2)]
    whole = torch.cat(parts, dim=1)
    columns = RepeatedColumns(map(Repeated.of, parts))
    assert columns.width == 8
    assert torch.equal(columns[ROWS], whole[ROWS])
    for count in (1, 2, 4, 8):
        assert torch.equal(columns.leading(count)[ROWS], whole[ROWS, :count])


def test_permutations_are_those_that_were_made_for_all_rows_at_once():
    group = torch.arange(300) ** 2 % 31
    _, index, sizes = np.unique(group.numpy(), return_inverse=True, return_counts=True)
    by_group, start = np.argsort(index, kind="stable"), np.cumsum(sizes) - sizes
    rank = np.empty(300, dtype=np.int64)
    rank[by_group] = np.arange(300) - start[index[by_group]]
    generator = np.random.default_rng(4)
    donors = [generator.permutation(len(sizes))[index] for _ in range(6)]
    expected = np.stack([by_group[start[donor] + rank % sizes[donor]] for donor in donors], axis=1)
    rows = torch.tensor([7, 299, 0, 7])
    assert np.array_equal(PermutedRows(group, 6, seed=4)[rows].numpy(), expected[rows.numpy()])
    assert PermutedRows(group, 0, seed=4)[rows].shape == (4, 0)


def problems(n):
    """Rows of a modulus."""
    x, y = torch.randint(40, (2, n), generator=torch.Generator().manual_seed(n))
    lengths, layout, ids = torch.full((n,), 18), torch.zeros(n).long(), torch.zeros(n, 18).byte()
    return ProblemRows("rows", ids, lengths, Sums(x, y, 97), layout, [Layout.of("1 + 2 (mod 97) = ?").roles])


def held(n):
    """Bytes of all tensors that a claim's probe and its controls hold, for so many rows."""
    rows, last = problems(n), PositionTable(("last",), torch.zeros(n, 1).long(), torch.ones(n, 1).bool())
    claim = Claim("residue", Circle("residue", 97, tuple(range(1, 7))))
    survey = ClaimSurvey(claim, rows, ["final"], last, Split(permutations=19), 2)
    storages = {one.untyped_storage().data_ptr(): one.untyped_storage().nbytes() for one in of(survey, set())}
    return sum(storages.values())


def of(thing, seen):
    """The tensors inside."""
    if id(thing) in seen or isinstance(thing, type):
        return
    seen.add(id(thing))
    if isinstance(thing, torch.Tensor):
        yield thing
        return
    for part in gc.get_referents(thing):
        if isinstance(part, (torch.Tensor, list, tuple, dict)) or type(part).__module__.startswith("arithprobe"):
            yield from of(part, seen)


def test_a_row_takes_hardly_any_memory():
    assert (held(8_000) - held(4_000)) / 4_000 < 200  # bytes
