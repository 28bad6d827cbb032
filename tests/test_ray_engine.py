"""The Ray engine: every trial ends once, on one machine or two; what a lost machine did is done on the other.

Most tests share one cluster, and a connection to it: each new one, and each new worker, takes seconds.
"""

import csv
import functools
import io
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from conftest import assert_refused
from ray_clusters import by_name_there, free_port, ray_environment, started_on, two_machines, wait_for_go
from sweep_tasks import alive, assert_every_trial_ends_once, attempts, by_name, folders, note, outcomes, wait_for
from swept import assert_same, results, settings, sweep_here, undisturbed, written

from arithprobe.errors import ArithprobeError
from arithprobe.sweeps.ray_address import QUIET
from arithprobe.sweeps.ray_engine import RayEngine

pytestmark = pytest.mark.slow(seconds=3)
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


@pytest.fixture
def connected(machines):
    """Both of them, and this process is connected to them; tests without this fixture begin without a connection."""
    import ray

    if not ray.is_initialized():
        ray.init(address=machines.address, **QUIET)
    return machines


@pytest.fixture(autouse=True)
def _apart(request):
    import ray

    if "connected" not in request.fixturenames:
        ray.shutdown()


def first_line(engine):
    """What a run is refused with, and how many seconds that takes."""
    start = time.monotonic()
    with pytest.raises(ArithprobeError) as refused:
        next(engine.run(note, ["/nowhere"]))
    assert "\n" not in str(refused.value)
    return str(refused.value), time.monotonic() - start


@pytest.mark.usefixtures("connected")
def test_every_trial_ends_once_whatever_becomes_of_the_others(tmp_path):
    assert_every_trial_ends_once(
        RayEngine(jobs=2, retries=1), tmp_path, "its worker died 2 times (killed, or out of memory)"
    )


_QUIET = """
import sys
from ray_clusters import by_name_there
from arithprobe.sweeps.ray_engine import RayEngine
found = [one for one in RayEngine(jobs=1).run(by_name_there, sys.argv[1:]) if one is not None]
sys.exit(0 if [error for _, error in found] == [None] else repr(found))
"""


@pytest.fixture(scope="module")
def alone(_machines, tmp_path_factory):
    """A run on this machine beside a cluster, as users have it: its home folder, its trial and what it said."""
    home = tmp_path_factory.mktemp("alone")
    (trial,) = folders(home, "die_once")
    names = {"PYTHONPATH": TESTS, "HOME": str(home), "PATH": os.environ["PATH"], "OMP_NUM_THREADS": "1"}
    return (
        home,
        trial,
        subprocess.run(
            [sys.executable, "-W", "error", "-c", _QUIET, trial],
            env=names | {"RAY_ADDRESS": _machines.address},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        ),
    )


def test_ray_prints_nothing_when_a_worker_dies(alone):
    home, trial, done = alone
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert attempts(trial) == 2  # control: one did
    assert (home / ".ray" / "auth_token").is_file()  # control: as users have it


def test_without_an_address_no_cluster_is_joined(alone, tmp_path, machines, monkeypatch):
    _, trial, _ = alone
    assert len(started_on(trial)) == 2
    assert not {machines.head, machines.join()} & set(started_on(trial))
    trials = folders(tmp_path, "good")
    monkeypatch.setenv("RAY_ADDRESS", machines.address)
    assert outcomes(RayEngine(address="auto").run(by_name_there, trials)) == [("good", None)]
    assert set(started_on(trials[0])) <= {machines.head, machines.join()}  # control


def test_trials_of_a_lost_machine_run_again_on_the_other(tmp_path, connected):
    trials = folders(tmp_path, *"abcd")
    second = connected.join()
    found, at_the_loss = [], None
    for one in RayEngine().run(wait_for_go, trials):
        found += [] if one is None else [one]
        started = {trial: started_on(trial) for trial in trials}
        if at_the_loss is None and {id_ for ids in started.values() for id_ in ids} == {connected.head, second}:
            at_the_loss = started
            connected.lose()
            (tmp_path / "go").touch()
    assert sorted(found) == [(trial, None) for trial in trials]
    assert at_the_loss is not None
    for trial in trials:
        again = at_the_loss[trial] == [second]
        assert started_on(trial) == ([second, connected.head] if again else [connected.head])
        assert (Path(trial) / "gpus.txt").read_text() == ""  # asked for none, so sees none
    assert sum(at_the_loss[trial] == [second] for trial in trials) == 1


def test_trials_wait_for_a_machine_that_has_what_they_need(tmp_path, connected):
    trials = folders(tmp_path, "a", "b")
    second = connected.join()
    found, ticks, third = [], 0, None
    for one in RayEngine(gpus=0.5, jobs=1).run(wait_for_go, trials):
        if one is not None:
            found.append(one)
        elif ticks == 0 and started_on(trials[0]):
            connected.lose()  # the head has no GPU
            (tmp_path / "go").touch()
            ticks = 1
        elif ticks:
            ticks += 1
        if ticks >= 4 and third is None:
            assert found == []
            third = connected.join()
    assert found == [(trial, None) for trial in trials]
    assert [started_on(trial) for trial in trials] == [[second, third], [third]]  # with jobs=1 the second had to wait
    assert (Path(trials[0]) / "gpus.txt").read_text() == "0"


def test_a_machine_lost_too_often_is_what_failed(tmp_path, connected):
    trials = folders(tmp_path, "a", "b")
    second = connected.join()
    found = []
    for one in RayEngine(retries=0).run(wait_for_go, trials):
        found += [] if one is None else [one]
        if not (tmp_path / "go").exists() and all(started_on(trial) for trial in trials):
            connected.lose()
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


def test_a_process_that_is_connected_stays_so(tmp_path, connected):
    import ray

    trials = folders(tmp_path, "a", "b")
    running = RayEngine(jobs=1).run(wait_for_go, trials)
    assert wait_for(lambda: next(running) is None and started_on(trials[0]))
    assert [next(running) for _ in range(3)] == [None] * 3
    assert started_on(trials[1]) == []  # one at a time, though there is room for two
    (tmp_path / "go").touch()
    assert outcomes(running) == [("a", None), ("b", None)]
    assert set(started_on(trials[0]) + started_on(trials[1])) <= {connected.head, connected.join()}
    (slow,) = folders(tmp_path, "slow")
    running = RayEngine().run(functools.partial(note, seconds=60.0), [slow])
    assert wait_for(lambda: next(running) is None and attempts(slow))
    running.close()
    pid = int((Path(slow) / "attempts.txt").read_text())
    assert wait_for(lambda: not alive(pid), 5.0)
    assert ray.is_initialized()


@pytest.mark.parametrize("needed", [{"threads": 2}, {"gpus": 2}])
@pytest.mark.usefixtures("connected")
def test_what_no_machine_has_room_for_is_refused(needed):
    line, _ = first_line(RayEngine(**needed))
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


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    """A sweep on this machine that nothing disturbed."""
    return undisturbed(tmp_path_factory.getbasetemp() / "undisturbed")


def test_ray_gives_what_this_machine_gives(sweep, tmp_path):
    """Of a trial that is trained; the next test trains on Ray too."""
    out = tmp_path / "out"
    shutil.copytree(sweep.out, out)
    name, other = results(out)
    (out / name / "result.json").unlink()
    before = (out / other / "result.json").stat().st_mtime_ns
    done = sweep_here(sweep.config, out, "--engine", "ray", "--jobs", 1)
    assert done.code == 0, done.err
    assert (out / other / "result.json").stat().st_mtime_ns == before
    assert_same(out, sweep.out)
    assert (out / "table.csv").read_text() == (sweep.out / "table.csv").read_text()


def test_a_machine_lost_in_the_middle_costs_a_sweep_nothing(sweep, machines, tmp_path):
    """Two machines of one CPU, two trials that train at once, so one on each; then one machine is lost."""
    out, at_the_loss = tmp_path / "out", []
    together = {"class_path": "stopped_fits.Together", "init_args": {"folder": str(out), "trials": 2}}
    config = written(tmp_path, **{"trainer.callbacks": [*settings(tmp_path)["trainer.callbacks"], together]})

    def lose():
        began = wait_for(lambda: len(list(out.glob("*/checkpoints/resume.ckpt"))) == 2, 120.0)
        at_the_loss.append((began, results(out)))
        machines.lose()

    losing = threading.Thread(target=lose)
    losing.start()
    done = sweep_here(config, out, "--engine", "ray", "--address", machines.address)
    losing.join()
    assert done.code == 0, done.err
    assert at_the_loss == [(True, {})], "control: no trial was done, so both trained at once"
    assert_same(out, sweep.out)
    rows = list(csv.DictReader(io.StringIO((out / "table.csv").read_text())))
    assert [row["trial"] for row in rows] == list(results(sweep.out))
    started = [len(list((out / name).glob("version_*"))) for name in results(out)]
    assert sorted(started) in ([1, 2], [2, 2])  # the trial of the lost machine was begun again


def test_an_address_without_a_cluster_is_a_mistake_that_leaves_nothing(run, tmp_path):
    words = ["--engine", "ray", "--address", f"127.0.0.1:{free_port()}"]
    done = run("sweep", "--config", written(tmp_path), "--output_dir", tmp_path / "out", *words)
    assert_refused(done, r"address is 127\.0\.0\.1:\d+; no Ray cluster can be joined there")
    assert not (tmp_path / "out").exists()
