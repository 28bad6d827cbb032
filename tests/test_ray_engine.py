"""The Ray engine: every trial ends once, on one machine or two; what a lost machine did is done on the other."""

import functools
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ray_clusters import free_port, ray_environment, started_on, two_machines, wait_for_go
from sweep_tasks import alive, assert_every_trial_ends_once, attempts, by_name, folders, note, outcomes, wait_for

from arithprobe.errors import ArithprobeError
from arithprobe.sweeps.ray_engine import RayEngine

pytestmark = pytest.mark.slow
TESTS = str(Path(__file__).parent)


@pytest.fixture(scope="module", autouse=True)
def _environment():
    with ray_environment():
        yield


@pytest.fixture(scope="module")
def _machines():
    with two_machines() as machines:
        yield machines


@pytest.fixture
def machines(_machines):
    """Both of them, whatever the test before has done."""
    _machines.join()
    return _machines


def first_line(engine):
    """What a run is refused with, and how many seconds that takes."""
    start = time.monotonic()
    with pytest.raises(ArithprobeError) as refused:
        next(engine.run(note, ["/nowhere"]))
    assert "\n" not in str(refused.value)
    return str(refused.value), time.monotonic() - start


def test_every_trial_ends_once_whatever_becomes_of_the_others(tmp_path):
    assert_every_trial_ends_once(
        RayEngine(jobs=2, retries=1), tmp_path, "its worker died 2 times (killed, or out of memory)"
    )


_QUIET = """
import sys
from sweep_tasks import by_name
from arithprobe.sweeps.ray_engine import RayEngine
found = [one for one in RayEngine(jobs=1).run(by_name, sys.argv[1:]) if one is not None]
sys.exit(0 if [error for _, error in found] == [None] else repr(found))
"""


def test_ray_prints_nothing_when_a_worker_dies(tmp_path):
    (trial,) = folders(tmp_path, "die_once")
    names = {"PYTHONPATH": TESTS, "HOME": str(tmp_path), "PATH": os.environ["PATH"], "OMP_NUM_THREADS": "1"}
    words = [sys.executable, "-W", "error", "-c", _QUIET, trial]
    done = subprocess.run(words, env=names, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert attempts(trial) == 2  # control: one did
    assert (tmp_path / ".ray" / "auth_token").is_file()  # control: as users have it


def test_without_an_address_no_cluster_is_joined(tmp_path, machines, monkeypatch):
    trials = folders(tmp_path, "a")
    (tmp_path / "go").touch()
    monkeypatch.setenv("RAY_ADDRESS", machines.address)
    assert outcomes(RayEngine(address="auto").run(wait_for_go, trials)) == [("a", None)]
    assert outcomes(RayEngine(jobs=1).run(wait_for_go, trials)) == [("a", None)]
    joined, own = started_on(trials[0])
    assert joined in {machines.head, machines.join()}  # control
    assert own not in {machines.head, machines.join()}


def test_trials_of_a_lost_machine_run_again_on_the_other(tmp_path, machines):
    trials = folders(tmp_path, *"abcd")
    second = machines.join()
    found, at_the_loss = [], None
    for one in RayEngine(address=machines.address).run(wait_for_go, trials):
        found += [] if one is None else [one]
        started = {trial: started_on(trial) for trial in trials}
        if at_the_loss is None and {id_ for ids in started.values() for id_ in ids} == {machines.head, second}:
            at_the_loss = started
            machines.lose()
            (tmp_path / "go").touch()
    assert sorted(found) == [(trial, None) for trial in trials]
    assert at_the_loss is not None
    for trial in trials:
        again = at_the_loss[trial] == [second]
        assert started_on(trial) == ([second, machines.head] if again else [machines.head])
        assert (Path(trial) / "gpus.txt").read_text() == ""  # asked for none, so sees none
    assert sum(at_the_loss[trial] == [second] for trial in trials) == 1


def test_trials_wait_for_a_machine_that_has_what_they_need(tmp_path, machines):
    trials = folders(tmp_path, "a", "b")
    second = machines.join()
    found, ticks, third = [], 0, None
    for one in RayEngine(address=machines.address, gpus=0.5, jobs=1).run(wait_for_go, trials):
        if one is not None:
            found.append(one)
        elif ticks == 0 and started_on(trials[0]):
            machines.lose()  # the head has no GPU
            (tmp_path / "go").touch()
            ticks = 1
        elif ticks:
            ticks += 1
        if ticks >= 6 and third is None:
            assert found == []
            third = machines.join()
    assert found == [(trial, None) for trial in trials]
    assert [started_on(trial) for trial in trials] == [[second, third], [third]]  # with jobs=1 the second had to wait
    assert (Path(trials[0]) / "gpus.txt").read_text() == "0"


def test_a_machine_lost_too_often_is_what_failed(tmp_path, machines):
    trials = folders(tmp_path, "a", "b")
    second = machines.join()
    found = []
    for one in RayEngine(address=machines.address, retries=0).run(wait_for_go, trials):
        found += [] if one is None else [one]
        if not (tmp_path / "go").exists() and all(started_on(trial) for trial in trials):
            machines.lose()
            (tmp_path / "go").touch()
    lost = {trial: started_on(trial) == [second] for trial in trials}
    assert sorted(lost.values()) == [False, True]
    assert dict(found) == {trial: "its machine was lost once" if lost[trial] else None for trial in trials}


def test_closing_stops_what_runs_and_leaves_nothing(tmp_path, machines):
    import ray

    trials = folders(tmp_path, "slow1", "slow2")
    handler, environment = signal.getsignal(signal.SIGTERM), dict(os.environ)
    running = RayEngine(address=machines.address).run(functools.partial(note, seconds=60.0), trials)
    assert wait_for(lambda: next(running) is None and all(attempts(trial) for trial in trials))
    pids = [int((Path(trial) / "attempts.txt").read_text()) for trial in trials]
    assert all(alive(pid) for pid in pids)
    assert ray.is_initialized()
    running.close()
    assert wait_for(lambda: not any(alive(pid) for pid in pids), 5.0)
    assert not any((Path(trial) / "done.txt").exists() for trial in trials)
    assert not ray.is_initialized()
    assert signal.getsignal(signal.SIGTERM) == handler
    assert dict(os.environ) == environment


_SWEEP = """
import functools, sys
from sweep_tasks import note
from arithprobe.sweeps.ray_engine import RayEngine
list(RayEngine(address=sys.argv[1]).run(functools.partial(note, seconds=60.0), sys.argv[2:]))
"""


def test_workers_end_with_a_sweep_that_is_killed(tmp_path, machines):
    (folder,) = folders(tmp_path, "slow")
    sweep = subprocess.Popen([sys.executable, "-c", _SWEEP, machines.address, folder])
    try:
        assert wait_for(lambda: attempts(folder) == 1)
        worker = int((Path(folder) / "attempts.txt").read_text())
        assert alive(worker)  # control
        sweep.kill()
        assert wait_for(lambda: not alive(worker), 10.0)
    finally:
        sweep.kill()
        sweep.wait()


def test_a_machine_outside_the_cluster_joins_as_a_client(tmp_path, machines):
    trials = folders(tmp_path, "good", "raise", "die_once")
    engine = RayEngine(address=f"ray://127.0.0.1:{machines.client_port}")
    assert sorted(outcomes(engine.run(by_name, trials))) == [
        ("die_once", None),
        ("good", None),
        ("raise", "ZeroDivisionError: of this trial in two lines"),
    ]
    assert [attempts(trial) for trial in trials] == [1, 1, 2]


def test_a_process_that_is_connected_stays_so(tmp_path, machines):
    import ray

    trials = folders(tmp_path, "a", "b")
    ray.init(address=machines.address, log_to_driver=False, logging_level="ERROR")
    try:
        running = RayEngine(jobs=1).run(wait_for_go, trials)
        assert wait_for(lambda: next(running) is None and started_on(trials[0]))
        assert [next(running) for _ in range(3)] == [None] * 3
        assert started_on(trials[1]) == []  # one at a time, though there is room for two
        (tmp_path / "go").touch()
        assert outcomes(running) == [("a", None), ("b", None)]
        assert set(started_on(trials[0]) + started_on(trials[1])) <= {machines.head, machines.join()}
        (slow,) = folders(tmp_path, "slow")
        running = RayEngine().run(functools.partial(note, seconds=60.0), [slow])
        assert wait_for(lambda: next(running) is None and attempts(slow))
        running.close()
        pid = int((Path(slow) / "attempts.txt").read_text())
        assert wait_for(lambda: not alive(pid), 5.0)
        assert ray.is_initialized()
    finally:
        ray.shutdown()


@pytest.mark.parametrize("needed", [{"threads": 2}, {"gpus": 2}])
def test_what_no_machine_has_room_for_is_refused(machines, needed):
    line, _ = first_line(RayEngine(address=machines.address, **needed))
    wanted = {"threads": 1, "gpus": 0, **needed}
    assert f"threads={wanted['threads']} CPUs and gpus={wanted['gpus']} GPUs of one machine" in line
    assert line.endswith("have 1 and 1, 1 and 0")


@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_a_port_that_nobody_listens_on(scheme):
    address = f"{scheme}127.0.0.1:{free_port()}"
    line, seconds = first_line(RayEngine(address=address))
    assert line.startswith(f"address is {address}; no Ray cluster can be joined there (")
    assert "refused" in line
    assert seconds < 10


def test_a_server_that_is_not_of_ray():
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        line, seconds = first_line(RayEngine(address=f"127.0.0.1:{silent.getsockname()[1]}", wait_s=2))
    assert "no answer within 2 s" in line
    assert seconds < 10


def test_a_host_that_there_is_not():
    line, seconds = first_line(RayEngine(address="no-such-host.invalid:6379", wait_s=10))
    assert "no-such-host.invalid" in line.partition("(")[2]
    assert seconds < 20


def test_auto_without_a_cluster_says_how_to_start_one(monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{free_port()}")
    line, seconds = first_line(RayEngine(address="auto", wait_s=2))
    assert line.endswith("; start one with 'ray start --head'")
    assert seconds < 10


_ASKS_FOR_A_TOKEN = """
import sys
from concurrent.futures import ThreadPoolExecutor
import grpc
class Handler(grpc.GenericRpcHandler):
    def service(self, details):
        no = grpc.StatusCode.UNAUTHENTICATED
        return grpc.unary_unary_rpc_method_handler(lambda _, context: context.abort(no, ""))
server = grpc.server(ThreadPoolExecutor(1), handlers=[Handler()])
print(server.add_insecure_port("127.0.0.1:0"), flush=True)
server.start()
server.wait_for_termination()
"""


@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_a_cluster_that_asks_for_a_token(scheme):
    with subprocess.Popen([sys.executable, "-c", _ASKS_FOR_A_TOKEN], stdout=subprocess.PIPE, text=True) as server:
        try:
            port = int(server.stdout.readline())
            line, _ = first_line(RayEngine(address=f"{scheme}127.0.0.1:{port}"))
        finally:
            server.kill()
    assert "RAY_AUTH_MODE=token" in line


@pytest.mark.parametrize("address", ["here", "host:port", "ray://host", "http://host:80", ":6379"])
def test_what_is_no_address(address):
    line, _ = first_line(RayEngine(address=address))
    assert line == f"address is {address}; expected auto, HOST:PORT or ray://HOST:PORT"


@pytest.mark.parametrize(
    ("options", "message"), [({"gpus": 1.5}, "gpus is 1.5"), ({"threads": 0}, "threads"), ({"retries": -1}, "retries")]
)
def test_options_that_cannot_be(options, message):
    with pytest.raises(ArithprobeError, match=message):
        RayEngine(**options)


_WITHOUT = """
import sys
sys.modules["ray"] = None
from arithprobe.errors import ArithprobeError
from arithprobe.sweeps.ray_engine import RayEngine
try:
    RayEngine()
except ArithprobeError as error:
    print(error)
"""


def test_without_ray_the_command_that_installs_it_is_named():
    done = subprocess.run([sys.executable, "-c", _WITHOUT], capture_output=True, text=True, check=True)
    assert done.stdout == "Ray is not installed; pip install 'arithprobe[ray]'\n"
