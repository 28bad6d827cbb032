"""How many threads compute, and how they wait: what a user says stands; a fit goes on with as many as before."""

import json
import os
import subprocess
import sys

import pytest
import torch
from conftest import assert_refused

from arithprobe.callbacks.random_state import threads_to_go_on_with
from arithprobe.errors import ArithprobeError
from arithprobe.threads import are_chosen, choose_threads, cores, default_threads, use_chosen_threads, use_threads

CHOSEN = {"OMP_NUM_THREADS": str(min(2, cores())), "ARITHPROBE_CHOSE_THREADS": str(min(2, cores()))}
WAITING = {"GOMP_SPINCOUNT": "600", "KMP_BLOCKTIME": "0"}
NAMES = (*CHOSEN, *WAITING, "OMP_WAIT_POLICY", "MKL_NUM_THREADS")


@pytest.fixture(autouse=True)
def _as_before(monkeypatch):
    """No test leaves variables or threads behind."""
    for name in NAMES:
        monkeypatch.setenv(name, "")  # so that whatever comes of it is undone
        monkeypatch.delenv(name)
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def chosen(number, monkeypatch):
    """As after a command has chosen so many."""
    for name in CHOSEN:
        monkeypatch.setenv(name, str(number))
    torch.set_num_threads(number)


@pytest.mark.parametrize(
    ("said", "added"),
    [
        ({}, CHOSEN | WAITING),
        ({"OMP_NUM_THREADS": ""}, CHOSEN | WAITING),  # says nothing
        ({"OMP_NUM_THREADS": "7"}, WAITING),
        ({"MKL_NUM_THREADS": "7"}, WAITING),
        ({"OMP_WAIT_POLICY": "active"}, CHOSEN),
        ({"GOMP_SPINCOUNT": "5"}, CHOSEN),
        ({"KMP_BLOCKTIME": "5"}, CHOSEN),
    ],
)
def test_what_the_user_has_said_stands(said, added):
    environment = dict(said)
    choose_threads(environment)
    assert environment == said | added


def test_processes_that_compute_side_by_side_share_the_cores():
    assert default_threads() == min(2, cores())
    assert default_threads(cores()) == 1
    assert default_threads(100 * cores()) == 1


_COMMAND = """
import json, os, sys
from arithprobe import cli
cli.main(["probe", "--checkpoint", "nowhere"])
print(json.dumps([dict(os.environ), "torch" in sys.modules]))
"""
_NOTEBOOK = """
import os
from arithprobe import use_threads
number = use_threads()
import torch
print(number, torch.get_num_threads(), os.environ["GOMP_SPINCOUNT"])
"""


def _python(program, **environment):
    clean = {name: value for name, value in os.environ.items() if name not in NAMES}
    words = [sys.executable, "-c", program]
    return subprocess.run(words, env=clean | environment, check=True, capture_output=True, text=True, timeout=99).stdout


@pytest.mark.slow
@pytest.mark.parametrize("said", [{}, {"OMP_NUM_THREADS": "3", "OMP_WAIT_POLICY": "active"}])
def test_a_command_chooses_before_pytorch_is_imported(said):
    environment, imported = json.loads(_python(_COMMAND, **said))
    assert not imported
    expected = said or CHOSEN | WAITING
    assert {name: environment[name] for name in NAMES if name in environment} == expected


@pytest.mark.slow
def test_a_notebook_that_asks_first_gets_the_same():
    number = min(2, cores())
    assert _python(_NOTEBOOK).split() == [str(number), str(number), "600"]


def test_a_command_in_a_process_that_has_pytorch_leaves_its_threads_alone(run):
    torch.set_num_threads(3)
    run("probe", "--checkpoint", "nowhere")
    assert torch.get_num_threads() == 3
    assert not set(NAMES) & set(os.environ)
    assert use_threads() == 3  # nor does this without a number


def test_a_choice_gives_way_and_what_a_user_has_said_does_not(monkeypatch):
    chosen(2, monkeypatch)
    use_chosen_threads(3)
    assert (torch.get_num_threads(), os.environ["OMP_NUM_THREADS"], are_chosen()) == (3, "3", True)
    assert use_threads(2) == 2
    use_chosen_threads(3)
    assert (torch.get_num_threads(), os.environ["OMP_NUM_THREADS"], are_chosen()) == (2, "2", False)


def test_what_nobody_has_set_is_no_choice(monkeypatch):
    assert not are_chosen()
    monkeypatch.setenv("OMP_NUM_THREADS", "")
    assert not are_chosen()
    chosen(2, monkeypatch)
    assert are_chosen()  # control
    torch.set_num_threads(1)  # the user's
    use_chosen_threads(2)
    assert torch.get_num_threads() == 1


@pytest.mark.parametrize("number", [0, -1, 1025, 10**12, 2.5, True, "2"])
def test_what_is_no_number_of_threads_is_refused(number):
    with pytest.raises(ArithprobeError, match=r"threads is .*; expected a number from 1 to 1024"):
        use_threads(number)
    assert not set(NAMES) & set(os.environ)


@pytest.mark.parametrize("said", ["2", True, 2.0, 0, -3, 10**12, None])
def test_a_checkpoint_that_says_nonsense_says_nothing(said):
    one = {"arithprobe_random_state": [{}], "arithprobe_threads": said}
    assert threads_to_go_on_with(one, 1) is None
    assert threads_to_go_on_with(one | {"arithprobe_threads": 1}, 1) == 1  # control
    assert threads_to_go_on_with(one | {"arithprobe_threads": 1}, 2) is None  # of another number of processes


@pytest.mark.slow
def test_a_command_refuses_what_is_no_number_of_threads(run, small_fit):
    said = "threads is 0; expected a number from 1 to 1024"
    assert_refused(run(*small_fit, "--threads", 0), said)
    words = ["--checkpoint", "x.ckpt", "--data", "x.tsv", "--output_dir", "out"]
    assert_refused(run("probe", *words, "--threads", 0), said)
    assert_refused(run(*small_fit, "--threads", "many"), "threads: expected int or null, got 'many'")


@pytest.mark.slow
@pytest.mark.filterwarnings("always::arithprobe.errors.ThreadsWarning")
def test_a_fit_goes_on_with_the_threads_it_began_with_or_says_so(run, small_fit, tmp_path, monkeypatch):
    few = [*small_fit, "--trainer.limit_train_batches", 2, "--trainer.limit_val_batches", 1]
    assert run(*few, "--threads", 1)[0] == 0
    (last,) = tmp_path.rglob("last.ckpt")
    on = [*few, "--trainer.max_epochs", 3, "--ckpt_path", last]
    code, _, err = run(*on, "--threads", 2)
    (line,) = (one for one in err.splitlines() if "threads" in one)
    assert code == 0
    assert line.startswith("arithprobe: warning: the checkpoint's number of threads is 1, this fit goes on with 2: ")
    assert "threads" not in run(*on, "--threads", 1)[2]  # control
    chosen(2, monkeypatch)
    code, _, err = run(*on)
    assert (code, torch.get_num_threads(), "threads" in err) == (0, 1, False)
