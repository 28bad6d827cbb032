"""What engines are given to run in the tests: each leaves in its folder what it did."""

import os
import signal
import time
from contextlib import suppress
from pathlib import Path


def attempts(folder):
    """How often a task was started there."""
    path = Path(folder) / "attempts.txt"
    return len(path.read_text().splitlines()) if path.exists() else 0


def _start(folder):
    with (Path(folder) / "attempts.txt").open("a") as file:
        file.write(f"{os.getpid()}\n")


def note(folder, seconds=0.0):
    """Done, after so many seconds."""
    _start(folder)
    time.sleep(seconds)
    (Path(folder) / "done.txt").write_text(str(os.getpid()))


def by_name(folder):
    """What the name of the folder says: raise, refuse, die_once, die, or be done."""
    _start(folder)
    name = Path(folder).name
    if name.startswith("raise"):
        raise ZeroDivisionError("of this trial\nin two lines")
    if name.startswith("refuse"):
        return "refused"
    if name.startswith("die_once") and attempts(folder) > 1:
        name = "again"
    if name.startswith("die"):
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.2)
    (Path(folder) / "done.txt").write_text(str(os.getpid()))
    return None


def alive(pid):
    """Whether there is such a process, and it is not a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def workers_of(pid):
    """Ids of the workers of loky that a process has started; that which cleans up after them is none."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        with suppress(FileNotFoundError, ProcessLookupError):
            parent = int((place / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == pid and b"popen_loky" in (place / "cmdline").read_bytes():
                found.append(int(place.name))
    return found


def wait_for(condition, seconds=20.0):
    """Whether it comes true in that time."""
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.05)
    return condition()


def folders(tmp_path, *names):
    """Folders of trials."""
    for name in names:
        (tmp_path / name).mkdir()
    return [str(tmp_path / name) for name in names]


def outcomes(running):
    """Names of trials and how they ended, of a run."""
    return [(Path(one.trial).name, one.error) for one in running if one is not None]


def assert_every_trial_ends_once(engine, tmp_path, died):
    """Whatever becomes of the others; of an engine that runs a trial once again, and says so of a dead worker."""
    trials = folders(tmp_path, "good1", "raise", "die_once", "refuse", "die", "good2")
    found = outcomes(engine.run(by_name, trials))
    assert sorted(name for name, _ in found) == sorted(Path(trial).name for trial in trials)
    assert dict(found) == {
        "good1": None,
        "good2": None,
        "die_once": None,
        "raise": "ZeroDivisionError: of this trial in two lines",
        "refuse": "refused",
        "die": died,
    }
    # an error is final, a death is not; and no bystander is run again
    counts = {Path(trial).name: attempts(trial) for trial in trials}
    assert counts == {"good1": 1, "good2": 1, "raise": 1, "refuse": 1, "die_once": 2, "die": 2}
