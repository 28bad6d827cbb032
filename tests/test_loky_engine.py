"""The embedded engine: every trial ends once, and the death of a worker is that of one attempt."""

import functools
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from sweep_tasks import alive, assert_every_trial_ends_once, attempts, folders, note, outcomes, wait_for

from arithprobe.sweeps.loky_engine import LokyEngine, cores

pytestmark = pytest.mark.slow


def test_every_trial_ends_once_whatever_becomes_of_the_others(tmp_path):
    assert_every_trial_ends_once(
        LokyEngine(jobs=2, retries=1), tmp_path, "its worker died 2 times (out of memory, or killed)"
    )


def test_trials_run_side_by_side_and_a_worker_serves_several(tmp_path):
    trials = folders(tmp_path, *"abcd")
    engine = LokyEngine(jobs=2)
    ticks = 0
    for one in engine.run(functools.partial(note, seconds=0.6), trials):
        ticks += one is None
    pids = {(Path(trial) / "done.txt").read_text() for trial in trials}
    assert len(pids) == 2  # control: with one job there is one
    assert ticks >= 2
    trials = folders(tmp_path, "e", "f")
    assert len(outcomes(LokyEngine(jobs=1).run(note, trials))) == 2
    assert len({(Path(trial) / "done.txt").read_text() for trial in trials}) == 1


def test_closing_stops_what_runs(tmp_path):
    trials = folders(tmp_path, "slow")
    running = LokyEngine(jobs=1).run(functools.partial(note, seconds=60.0), trials)
    assert wait_for(lambda: next(running) is None and attempts(trials[0]) == 1)
    pid = int((Path(trials[0]) / "attempts.txt").read_text())
    assert alive(pid)
    running.close()
    assert wait_for(lambda: not alive(pid), 5.0)
    assert not (Path(trials[0]) / "done.txt").exists()


_SWEEP = """
import functools, sys
sys.path.insert(0, {tests!r})
from sweep_tasks import note
from arithprobe.sweeps.loky_engine import LokyEngine
if __name__ == "__main__":
    list(LokyEngine(jobs=1).run(functools.partial(note, seconds=60.0), [{folder!r}]))
"""


def test_workers_end_with_a_sweep_that_is_killed(tmp_path):
    (folder,) = folders(tmp_path, "slow")
    script = tmp_path / "sweep.py"
    script.write_text(_SWEEP.format(tests=str(Path(__file__).parent), folder=folder))
    sweep = subprocess.Popen([sys.executable, str(script)])
    try:
        assert wait_for(lambda: attempts(folder) == 1)
        worker = int((Path(folder) / "attempts.txt").read_text())
        assert alive(worker)  # control
        os.kill(sweep.pid, signal.SIGKILL)
        assert wait_for(lambda: not alive(worker), 10.0)
    finally:
        sweep.kill()
        sweep.wait()


def test_places_are_the_cores_by_their_threads():
    assert LokyEngine().jobs == cores()
    assert LokyEngine(threads=2 * cores()).jobs == 1
    assert LokyEngine(jobs=7).jobs == 7
