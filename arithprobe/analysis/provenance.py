"""The provenance of a result: versions, a hash of the code, and hashes of rows and split."""

import hashlib
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from arithprobe.data.dataset import ArithmeticDataset
from arithprobe.data.problem_rows import ProblemRows
from arithprobe.data.rewriting import has_leading_zeros
from arithprobe.files import sha256_of

_PACKAGES = (
    "arithprobe",
    "torch",
    "lightning",
    "torchmetrics",
    "numpy",
    "scikit-learn",
    "scipy",
    "matplotlib",
    "tensorboard",
)


def versions() -> dict[str, str]:
    """Versions of this library, of Python, and of the packages that numbers depend on; by name."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # a build without metadata
            found[name] = "unknown"
    return found | {"platform": platform.platform()}


def code_hash() -> str:
    """SHA-256 over the names and the contents of this library's own modules: the version that was run, to the byte."""
    root = Path(__file__).parents[1]
    total = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        total.update(f"{path.relative_to(root).as_posix()}\n".encode())
        total.update(path.read_bytes())
    return total.hexdigest()


def file_record(path: str | Path) -> dict[str, Any]:
    """Path and SHA-256 of a file; the hash is None if there is no such file."""
    return {"path": str(path), "sha256": sha256_of(path) if Path(path).is_file() else None}


def split_record(train: ProblemRows, val: ProblemRows) -> dict[str, Any]:
    """The record of the training and validation rows, independent of file names.

    Args:
        train: Training rows.
        val: Validation rows.

    Returns:
        ``sha256`` of both parts' operands in order, and of their texts if these have leading zeros; the number of rows
        of each; and the number of validation rows whose pair, or sum, also occurs in training rows.
    """
    total = hashlib.sha256()
    for part in (train, val):
        operands = np.stack([part.x.numpy(), part.y.numpy()], axis=1).astype("<i8")
        total.update(f"{len(part)} {part.modulus}\n".encode())
        total.update(operands.tobytes())
        if isinstance(part, ArithmeticDataset) and has_leading_zeros(part):
            total.update("\n".join(part.texts()).encode())
    pairs = {*zip(train.x.tolist(), train.y.tolist(), strict=True)}
    sums = set((train.x + train.y).tolist())
    return {
        "sha256": total.hexdigest(),
        "train_rows": len(train),
        "val_rows": len(val),
        "shared_pairs": sum(pair in pairs for pair in zip(val.x.tolist(), val.y.tolist(), strict=True)),
        "shared_sums": sum(one in sums for one in (val.x + val.y).tolist()),
    }
