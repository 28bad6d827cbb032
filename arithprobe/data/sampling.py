"""Seeded problems, and the ways to split them.

The default recipe repeats the original notebook's data exactly: ``numpy.random.default_rng(1)``, 20000 draws of x,
then of y, from 0..999; the first 90 % train, the rest validate.
"""

from dataclasses import dataclass, fields
from typing import Literal, NamedTuple, get_args

import numpy as np
import numpy.typing as npt

from arithprobe.errors import ArithprobeError, shown
from arithprobe.limits import require_memory
from arithprobe.problems.grammar import MAX_DIGITS, Problem, task_title

Task = Literal["sum", "mod"]
SplitMode = Literal["pair", "unordered_pair", "sum"]
_BYTES_OF_A_ROW = 300.0  # drawn, as a problem and as text; measured
Part = Literal["train", "val", "test"]


@dataclass(frozen=True)
class DataRecipe:
    """The recipe of a generated data set; equal recipes make equal files.

    >>> DataRecipe().stem, DataRecipe(task="mod", split="sum", rows=500).stem
    ('REG-SUM', 'REG-MODK_rows500_splitsum')

    Args:
        task: ``sum`` for ``x + y = ?``, ``mod`` for ``x + y (mod k) = ?``.
        modulus: The modulus k of the ``mod`` task; unused by ``sum``.
        rows: Number of problems in all parts together, 2 or more.
        min_operand: Smallest operand, 0 or more.
        max_operand: Largest operand.
        seed: Seed of the draw (``numpy.random.default_rng``).
        split: What the parts must not share. ``pair``: rows as drawn, and a pair can come twice (the notebook's);
            ``unordered_pair``: no {x, y} in two parts; ``sum``: no x + y in two parts.
        val_fraction: Share of the rows for validation, between 0 and 1.
        test_fraction: Share of the rows for a last look, from 0 to below 1; 0 makes no test file.

    Raises:
        ArithprobeError: If an option is out of range.
    """

    task: Task = "sum"
    modulus: int = 97
    rows: int = 20000
    min_operand: int = 0
    max_operand: int = 999
    seed: int = 1
    split: SplitMode = "pair"
    val_fraction: float = 0.1
    test_fraction: float = 0.0

    def __post_init__(self) -> None:
        """Refuse recipes that make no data."""
        for name, choices in (("task", Task), ("split", SplitMode)):
            if getattr(self, name) not in get_args(choices):
                raise ArithprobeError(
                    f"{name} is {getattr(self, name)!r}; expected one of {', '.join(get_args(choices))}"
                )
        if self.task == "mod" and not 2 <= self.modulus < 10**MAX_DIGITS:
            raise ArithprobeError(
                f"modulus is {shown(self.modulus)}; expected 2 or more, of at most {MAX_DIGITS} digits"
            )
        if not 2 <= self.rows <= 10**8:
            raise ArithprobeError(
                f"rows is {shown(self.rows)}; expected 2 to 100000000, one at least to train and to validate"
            )
        if self.seed < 0:
            raise ArithprobeError(f"seed is {shown(self.seed)}; expected 0 or more")
        if not 0 <= self.min_operand <= self.max_operand < 10**MAX_DIGITS:
            raise ArithprobeError(
                f"operands run from {shown(self.min_operand)} to {shown(self.max_operand)}; expected 0 <= min_operand "
                f"<= max_operand of at most {MAX_DIGITS} digits"
            )
        if not (self.val_fraction > 0 and self.test_fraction >= 0 and self.val_fraction + self.test_fraction < 1):
            raise ArithprobeError(
                f"val_fraction is {self.val_fraction}, test_fraction {self.test_fraction}; expected shares that leave "
                "something to train on"
            )

    @property
    def stem(self) -> str:
        """The start of its file names: the notebook's name, and the options that differ from its recipe."""
        name = "REG-SUM" if self.task == "sum" else "REG-MODK"
        unused = {"task"} | ({"modulus"} if self.task == "sum" else set())
        differing = [
            f"_{field.name.replace('_', '')}{getattr(self, field.name)}"
            for field in fields(self)
            if field.name not in unused and getattr(self, field.name) != field.default
        ]
        return name + "".join(differing)

    @property
    def divisor(self) -> int | None:
        """The modulus of the problems; None for plain sums."""
        return self.modulus if self.task == "mod" else None

    @property
    def title(self) -> str:
        """The task in words: ``x + y`` or ``x + y (mod 97)``."""
        return task_title(None if self.task == "sum" else self.modulus)

    @property
    def parts(self) -> tuple[Part, ...]:
        """The parts that the recipe makes."""
        return ("train", "val", "test") if self.test_fraction else ("train", "val")

    def file_name(self, part: Part) -> str:
        """The file name of a part, ``REG-SUM_train.tsv`` by default."""
        return f"{self.stem}_{part}.tsv"


class Pairs(NamedTuple):
    """The operands of N problems."""

    x: npt.NDArray[np.int64]
    """(N,) first operands."""
    y: npt.NDArray[np.int64]
    """(N,) second operands."""

    def problems(self, recipe: DataRecipe) -> list[Problem]:
        """The problems, in order, in the recipe's task."""
        return [Problem(x, y, recipe.divisor) for x, y in zip(self.x.tolist(), self.y.tolist(), strict=True)]


def sample(recipe: DataRecipe) -> dict[Part, Pairs]:
    """Draw the recipe's pairs and split them; rows keep the order in which they were drawn.

    Under ``unordered_pair`` and ``sum`` whole groups go to one part, in random order, until the part has its share of
    the rows; a part may then be larger than its share by less than one group.

    Raises:
        ArithprobeError: If a part would be empty (too few rows or groups), or memory cannot hold the rows.
    """
    require_memory(f"rows is {recipe.rows}: to draw and write them", _BYTES_OF_A_ROW * recipe.rows)
    generator = np.random.default_rng(recipe.seed)
    dtype = np.int32 if recipe.max_operand < 2**31 - 1 else np.int64

    def draw() -> npt.NDArray[np.int64]:
        drawn = generator.integers(recipe.min_operand, recipe.max_operand + 1, size=recipe.rows, dtype=dtype)
        return drawn.astype(np.int64)

    x = draw()
    y = draw()
    n_val, n_test = (round(recipe.rows * share) for share in (recipe.val_fraction, recipe.test_fraction))
    if recipe.split == "pair":
        rank = np.arange(recipe.rows)[::-1]
    else:
        rank = _rank_by_group(split_group(x, y, recipe.split), generator)
    chosen: dict[Part, npt.NDArray[np.bool_]] = {
        "train": rank >= n_test + n_val,
        "val": (rank >= n_test) & (rank < n_test + n_val),
        "test": rank < n_test,
    }
    parts = {part: Pairs(x[chosen[part]], y[chosen[part]]) for part in recipe.parts}
    for part, pairs in parts.items():
        if not len(pairs.x):
            raise ArithprobeError(
                f"the {part} part is empty: {recipe.rows} rows do not split by {recipe.split!r} into these fractions"
            )
    return parts


def split_group(x: npt.NDArray[np.int64], y: npt.NDArray[np.int64], split: SplitMode) -> npt.NDArray[np.int64]:
    """(N,) labels that are equal if a split mode calls two rows alike: same pair, same two operands, or same sum."""
    if split == "sum":
        return x + y
    if split == "unordered_pair":
        x, y = np.minimum(x, y), np.maximum(x, y)
    if max(x.max(initial=0), y.max(initial=0)) < 2**31:
        return x << 32 | y
    _, group = np.unique(np.stack([x, y]), axis=1, return_inverse=True)
    return group.reshape(-1).astype(np.int64)


def _rank_by_group(group: npt.NDArray[np.int64], generator: np.random.Generator) -> npt.NDArray[np.int64]:
    """(N,) for each row, how many rows stand in groups that a random order of the groups puts before its own."""
    _, index, sizes = np.unique(group, return_inverse=True, return_counts=True)
    order = generator.permutation(len(sizes))
    before = np.empty(len(sizes), dtype=np.int64)
    before[order] = np.cumsum(sizes[order]) - sizes[order]
    return before[index.reshape(-1)]
