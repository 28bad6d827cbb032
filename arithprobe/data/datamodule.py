"""The Lightning data module: TSV files in, batches out."""

import warnings
from pathlib import Path

import numpy as np
from lightning.pytorch import LightningDataModule
from lightning.pytorch.overrides.distributed import UnrepeatedDistributedSampler
from torch.utils.data import DataLoader

from arithprobe.data.dataset import ArithmeticDataset, Batch, batches
from arithprobe.data.sampling import DataRecipe, Part, group_of, sample
from arithprobe.data.tsv import format_tsv, parse_tsv, read_tsv
from arithprobe.errors import ArithprobeError, SharedRowsWarning, require_at_least
from arithprobe.files import write_whole
from arithprobe.limits import require_within


class ArithmeticDataModule(LightningDataModule):
    """Arithmetic problems from TSV files.

    The files are read, checked and encoded once. A file that is missing under the recipe's own name
    (``data/REG-SUM_train.tsv`` for the default recipe) is made from the recipe; any other missing file is an
    error.

    Args:
        train_file: Training rows, ``problem<TAB>answer``; the recipe's file by default.
        val_file: Validation rows; the recipe's file by default.
        test_file: Test rows, for ``test``; none by default.
        batch_size: Rows a batch.
        recipe: What the data is: its task, its split, and how to make it. Files of another task, and parts that share
            what the split mode keeps apart, are refused; under ``split: pair`` shared rows are only counted.
        data_dir: Where the recipe's own files stand.

    Raises:
        ArithprobeError: From ``prepare_data`` and ``setup``, naming file and line.
    """

    def __init__(
        self,
        train_file: str | None = None,
        val_file: str | None = None,
        test_file: str | None = None,
        batch_size: int = 128,
        recipe: DataRecipe = DataRecipe(),  # noqa: B008 (frozen)
        data_dir: str = "data",
    ) -> None:
        super().__init__()
        require_at_least("", batch_size=(batch_size, 1))
        require_within("", batch_size=batch_size)
        self.batch_size = batch_size
        self.recipe = recipe
        self.data_dir = Path(data_dir)
        self.files: dict[Part, Path | None] = {
            "train": Path(train_file) if train_file else self._made("train"),
            "val": Path(val_file) if val_file else self._made("val"),
            "test": Path(test_file) if test_file else self._made("test") if recipe.test_fraction else None,
        }
        self._loaded: dict[Part, ArithmeticDataset] = {}

    def prepare_data(self) -> None:
        """Make the recipe's own files where they are missing; a ``fast_dev_run`` writes nothing."""
        if getattr(self.trainer, "fast_dev_run", False):
            return
        stage = "fit" if self.trainer is None or self.trainer.state.fn is None else self.trainer.state.fn.value
        for part in parts_of(stage):
            if self._is_to_be_made(part):
                write_whole(self._made(part), self._content(part))

    def setup(self, stage: str) -> None:
        """Read and check the files that a stage needs."""
        datasets = [self.dataset(part) for part in parts_of(stage)]
        if stage == "fit":
            self._check_overlap(*datasets)

    def dataset(self, part: Part) -> ArithmeticDataset:
        """The rows of a part, read at the first call; nothing is written, a missing file of the recipe is only drawn.

        Raises:
            ArithprobeError: If the file is missing, wrong, or of another task than the recipe's.
        """
        if part not in self._loaded:
            path = self.files[part]
            if path is None:
                raise ArithprobeError("there is no test file; pass --data.test_file FILE")
            table = parse_tsv(self._content(part).encode(), path) if self._is_to_be_made(part) else read_tsv(path)
            dataset = ArithmeticDataset(table)
            expected = self.recipe.divisor
            if dataset.modulus != expected:
                raise ArithprobeError(
                    f"{path}: holds {_task(dataset.modulus)}, expected {_task(expected)}; "
                    f"pass the right file or {_options(dataset.modulus)}"
                )
            self._loaded[part] = dataset
        return self._loaded[part]

    @property
    def train_mean(self) -> float:
        """Mean answer of the training rows: the best constant predictor."""
        return self.dataset("train").answers.double().mean().item()

    def train_dataloader(self) -> DataLoader[Batch]:
        """Shuffled training batches."""
        return batches(self.dataset("train"), self.batch_size, shuffle=True)

    def val_dataloader(self) -> DataLoader[Batch]:
        """Validation batches, in file order; each row on exactly one rank."""
        return self._in_order("val")

    def test_dataloader(self) -> DataLoader[Batch]:
        """Test batches, in file order; each row on exactly one rank."""
        return self._in_order("test")

    def predict_dataloader(self) -> DataLoader[Batch]:
        """The validation batches again."""
        return self._in_order("val")

    def _in_order(self, part: Part) -> DataLoader[Batch]:
        dataset = self.dataset(part)
        sampler = None
        if self.trainer is not None and self.trainer.world_size > 1:  # Lightning's own sampler would repeat rows
            sampler = UnrepeatedDistributedSampler(
                dataset, num_replicas=self.trainer.world_size, rank=self.trainer.global_rank, shuffle=False
            )
        return batches(dataset, self.batch_size, sampler=sampler)

    def _is_to_be_made(self, part: Part) -> bool:
        """Whether the file of a part is the recipe's own, and missing."""
        return self.files[part] == self._made(part) and not self._made(part).exists()

    def _content(self, part: Part) -> str:
        return format_tsv(sample(self.recipe)[part].problems(self.recipe))

    def _made(self, part: Part) -> Path:
        return self.data_dir / self.recipe.file_name(part)

    def _check_overlap(self, train: ArithmeticDataset, val: ArithmeticDataset) -> None:
        split = self.recipe.split
        group = group_of(
            np.concatenate([train.x.numpy(), val.x.numpy()]), np.concatenate([train.y.numpy(), val.y.numpy()]), split
        )
        shared = int(np.isin(group[len(train) :], group[: len(train)]).sum())
        if not shared:
            return
        what = split.replace("_", " ")
        count = f"{shared} of {len(val)} rows of {val.path} share their {what} with a row of {train.path}"
        if split != "pair":
            raise ArithprobeError(f"{count}; split {split!r} forbids it")
        warnings.warn(
            f"{count} (split 'pair' allows it, 'unordered_pair' and 'sum' do not)", SharedRowsWarning, stacklevel=2
        )


def parts_of(stage: str) -> tuple[Part, ...]:
    """The parts that ``fit``, ``validate``, ``test`` or ``predict`` reads."""
    parts: dict[str, tuple[Part, ...]] = {"fit": ("train", "val"), "test": ("test",)}
    return parts.get(stage, ("val",))


def _task(modulus: int | None) -> str:
    return "plain sums" if modulus is None else f"(mod {modulus}) problems"


def _options(modulus: int | None) -> str:
    return "--data.recipe.task sum" if modulus is None else f"--data.recipe.task mod --data.recipe.modulus {modulus}"
