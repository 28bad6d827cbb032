"""One trial of a sweep, in a worker: a fit that resumes where it stopped, then measures of its best checkpoint."""

import json
import os
import shutil
import socket
import sys
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import chdir, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from filelock import Timeout

from arithprobe.analysis.scale.options import ScaleOptions
from arithprobe.cli.ranks import forget_ranks
from arithprobe.errors import ArithprobeError
from arithprobe.sweeps.folder import BEST, CONFIG, RESUME, TrialFolder
from arithprobe.threads import use_threads

_WAIT_S = 60
_LOGGERS: dict[str, dict[str, Any]] = {
    "lightning.pytorch.loggers.CSVLogger": {},
    "lightning.pytorch.loggers.TensorBoardLogger": {"default_hp_metric": False},
}


def run_trial(
    path: str, *, parameters: Mapping[str, Mapping[str, Any]], cwd: str, threads: int, options: ScaleOptions
) -> str | None:
    """Run a trial, or resume it.

    Args:
        path: Its folder, with its configuration.
        parameters: Parameters of all trials, by name, which TensorBoard shows beside the measures.
        cwd: The folder that the paths in configurations start from.
        threads: Threads of PyTorch and of linear algebra; the last bits of results depend on them.
        options: The options of the measures.

    Returns:
        None when it is done, or the reason in one line why it cannot be.
    """
    folder = TrialFolder(path)
    forget_ranks()  # a trial is no rank of the job that the worker was started in
    if not (folder.path / CONFIG).is_file() or not Path(cwd).is_dir():
        return f"{socket.gethostname()} does not see {path} and {cwd}; a cluster needs folders that all machines share"
    try:
        with chdir(cwd), folder.lock().acquire(timeout=_WAIT_S), logged(folder.log):
            if folder.result(asdict(options)) is None:
                _run(folder, parameters[folder.path.name], threads, options)
    except Timeout:
        return f"{path}: another process holds this trial for more than {_WAIT_S} s"
    except ArithprobeError as error:
        return str(error)
    return None


def _run(folder: TrialFolder, parameters: Mapping[str, Any], threads: int, options: ScaleOptions) -> None:
    from threadpoolctl import threadpool_limits

    use_threads(threads)
    with threadpool_limits(threads):
        best = folder.checkpoints / BEST
        if folder.is_trained and not _has(best, "state_dict"):
            folder.forget()
        if not folder.is_trained:
            start = time.perf_counter()
            _fit(folder)
            if not best.is_file():
                raise ArithprobeError(
                    "the fit left no best checkpoint; was it validated, and is checkpoint.save_top_k 0?"
                )
            folder.trained(time.perf_counter() - start)
        _measure(folder, parameters, options)


def _fit(folder: TrialFolder) -> None:
    from arithprobe.cli.training import run

    resume, version = folder.checkpoints / RESUME, folder.next_version()
    place = {"save_dir": str(folder.path.parent), "name": folder.path.name, "version": version}
    loggers = [{"class_path": name, "init_args": place | more} for name, more in _LOGGERS.items()]
    observers: dict[str, dict[str, Any]] = {
        "arithprobe.callbacks.trial.ProgressFile": {"path": str(folder.progress_file)},
        "arithprobe.callbacks.trial.ResumeCheckpoint": {"path": str(resume)},
        "arithprobe.callbacks.TensorBoardOverview": {"hparams": False},  # the trial's measures are its row there
    }
    words = [
        "fit",
        *("--config", str(folder.path / CONFIG)),
        *("--trainer.default_root_dir", str(folder.path), f"--trainer.logger={json.dumps(loggers)}"),
        *("--checkpoint.dirpath", str(folder.checkpoints)),
        *("--trainer.enable_progress_bar", "false", "--threads", "null"),  # those that the worker has
    ]
    for name, options in observers.items():
        words.append(f"--trainer.callbacks+={json.dumps({'class_path': name, 'init_args': options})}")
    goes_on = _has(resume, "optimizer_states")
    sys.stdout.write(f"{folder.path.name}: {f'goes on from {resume}' if goes_on else 'starts'}\n")
    run([*words, *(("--ckpt_path", str(resume)) if goes_on else ())])


def _has(checkpoint: Path, part: str) -> bool:
    """Whether a checkpoint is whole and has that part: a machine that lost its power may have left half of one."""
    from arithprobe.models.weights import read_checkpoint

    try:
        return part in read_checkpoint(checkpoint)
    except ArithprobeError:
        return False


def _measure(folder: TrialFolder, parameters: Mapping[str, Any], options: ScaleOptions) -> None:
    from arithprobe.analysis.scale.run import columns, measure
    from arithprobe.cli.fit_config import rows_of_config
    from arithprobe.models.checkpoints import load_model

    start, reached = time.perf_counter(), folder.progress()
    known = {"skill": reached.skill, "verdict": reached.verdict, "share": 1.0}
    folder.say("measuring", **known)
    loaded = load_model(folder.checkpoints / BEST)
    rows = rows_of_config(folder.path / CONFIG)
    measures = measure(loaded, rows, options, lambda step: sys.stdout.write(f"measuring: {step}\n"))
    sys.stdout.writelines(f"left out: {reason}\n" for reason in measures.left_out)
    found = columns(measures)
    _to_tensorboard(folder, parameters, found)
    folder.finish(found, asdict(options), time.perf_counter() - start)


def _to_tensorboard(folder: TrialFolder, parameters: Mapping[str, Any], found: Mapping[str, Any]) -> None:
    """The parameters and measures of a trial, for TensorBoard's table of all trials (HPARAMS)."""
    from torch.utils.tensorboard import SummaryWriter

    place = folder.path / "measures"
    shutil.rmtree(place, ignore_errors=True)
    plain = {
        key: value if isinstance(value, (bool, int, float, str)) else json.dumps(value)
        for key, value in parameters.items()
    }
    numbers = {key: float(value) for key, value in found.items() if isinstance(value, (int, float))}
    with SummaryWriter(str(place)) as writer:
        writer.add_hparams(plain, {f"measure/{key}": value for key, value in numbers.items()}, run_name=".")


@contextmanager
def logged(path: Path) -> Iterator[None]:
    """Within the block, append all output of this process and its libraries to a file, including a traceback."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = os.dup(1), os.dup(2)
    with path.open("a", buffering=1) as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
        try:
            yield
        except BaseException:
            traceback.print_exc()
            raise
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            for number, one in enumerate(kept, start=1):
                os.dup2(one, number)
                os.close(one)
