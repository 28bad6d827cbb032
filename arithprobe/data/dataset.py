"""Pre-encoded problems as tensors; a batch is one tensor index, never a Python loop over rows."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from arithprobe.data.problem_rows import Batch as Batch
from arithprobe.data.problem_rows import ProblemRows, one_hot, one_hot_tokens
from arithprobe.data.rewriting import fits, rewritten
from arithprobe.data.tsv import TsvTable, parse_tsv, read_tsv
from arithprobe.problems.grammar import Layout
from arithprobe.problems.quantities import Sums
from arithprobe.tokenizer import VOCABULARY


class ArithmeticDataset(ProblemRows):
    """The problems of one file: N rows of T tokens, one per character.

    Attributes:
        path: The file.
        ids: (N, T) uint8 token ids.
        lengths: (N,) int64.
        x: (N,) int64 first operands.
        y: (N,) int64 second operands.
        answers: (N,) int64.
        modulus: The one modulus, or None for plain sums.
        layout: (N,) int64 index into ``layouts``.
        layouts: Which character is which, for each kind of row.
    """

    def __init__(self, table: TsvTable) -> None:
        self.layouts: tuple[Layout, ...] = tuple(layout for layout in table.layouts if layout is not None)
        sums = Sums(torch.from_numpy(table.x), torch.from_numpy(table.y), table.modulus)
        ids, lengths, layout = (torch.from_numpy(one) for one in (table.ids, table.lengths, table.layout))
        super().__init__(table.path, ids, lengths, sums, layout, [one.roles for one in self.layouts])

    @classmethod
    def from_tsv(cls, path: str | Path) -> "ArithmeticDataset":
        """Read the problems of a file, see :func:`arithprobe.data.tsv.read_tsv`."""
        return cls(read_tsv(path))

    def texts(self, rows: Tensor | None = None) -> list[str]:
        """The N problems, or those of some row numbers, as written in the file."""
        characters = _CHARACTERS[(self.ids if rows is None else self.ids[rows]).numpy()]
        return [text.decode() for text in characters.view(f"S{self.max_length}").reshape(-1).tolist()]

    def surface(self) -> dict[str, Tensor]:
        """``lengths`` (digit counts of the operands, one-hot) and ``characters`` (the prompt, one-hot by place)."""
        digits = [torch.tensor([span[1] - span[0] for span in (layout.x, layout.y)]) for layout in self.layouts]
        kinds = torch.stack(digits)[self.layout]  # (N, 2)
        return {"lengths": one_hot(kinds[:, 0] * 100 + kinds[:, 1]), "characters": one_hot_tokens(self.ids)}

    def fits(self, rows: Tensor, x: Tensor, y: Tensor) -> Tensor:
        """Whether the layout of each row has room for other operands, (n,); see :mod:`arithprobe.data.rewriting`."""
        return fits(self, rows, x, y)

    def rewritten(self, rows: Tensor, x: Tensor, y: Tensor, change: str) -> "ArithmeticDataset":
        """Return N rows with other operands, written as the data writes them."""
        sums = Sums(x, y, self.modulus)
        texts = rewritten(self, rows, x, y)
        content = "".join(f"{text}\t{answer}\n" for text, answer in zip(texts, sums.answers.tolist(), strict=True))
        return ArithmeticDataset(parse_tsv(content.encode(), f"{self.path}, {change}"))


def batches(
    dataset: Dataset[Batch], batch_size: int, *, shuffle: bool = False, sampler: Sampler[int] | None = None
) -> DataLoader[Batch]:
    """A loader of whole batches.

    Args:
        dataset: The rows.
        batch_size: Rows a batch; the last may have fewer.
        shuffle: Draw a new order every epoch, from the global random state.
        sampler: The rows to visit, in order; all of them by default.
    """
    return DataLoader(dataset, batch_size=batch_size, shuffle=shuffle, sampler=sampler, collate_fn=_as_is)


def _as_is(batch: Any) -> Batch:
    """The batch that ``__getitems__`` has already made."""
    made: Batch = batch
    return made


_CHARACTERS = np.frombuffer(("\0" + VOCABULARY).encode(), dtype=np.uint8)
