"""Ray clusters of several machines, each of them processes on this one; and tasks that say where they ran."""

import os
import socket
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sweep_tasks import by_name

_HEALTH = {"health_check_initial_delay_ms": 200, "health_check_period_ms": 500, "health_check_failure_threshold": 6}
"""Three seconds: a machine that is lost is soon found to be, and one that is only slow is not."""


@contextmanager
def ray_environment() -> Iterator[None]:
    """Within the block, workers can import the modules of tests, and Ray leaves the home folder alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).parent))
        patch.setenv("RAY_AUTH_MODE", "disabled")  # or it writes a token; a process cannot change its mind
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_worker_niceness", "0")  # by default 15: beside other tests they would hardly run
        patch.setenv(
            "GRPC_ENABLE_FORK_SUPPORT", "0"
        )  # the server of clients hangs, github.com/ray-project/ray/issues/63202
        yield


class Machines:
    """A cluster: a head with one CPU, and a second machine with one CPU and one GPU, that is only a number."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster

        self.client_port = free_port()
        head = {"num_cpus": 1, "include_dashboard": False, "ray_client_server_port": self.client_port}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)  # of two log files
            self.cluster = Cluster(initialize_head=True, head_node_args={**head, "_system_config": _HEALTH})
        self.address = self.cluster.address
        self.head = self.cluster.head_node.node_id
        self._second = None
        self.join()

    def join(self) -> str:
        """Let the second machine join, if it is not there; returns its id."""
        if self._second is None:
            self._second = self.cluster.add_node(num_cpus=1, num_gpus=1)
        return self._second.node_id

    def lose(self) -> None:
        """Kill all processes of the second machine."""
        lost, self._second = self._second, None
        self.cluster.remove_node(lost, allow_graceful=False)


@contextmanager
def two_machines() -> Iterator[Machines]:
    """Within the block, there is such a cluster."""
    with ray_environment():
        machines = Machines()
        try:
            yield machines
        finally:
            machines.cluster.shutdown()


def free_port():
    """A port that nobody listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def started_on(folder):
    """Ids of the machines that a task was started on there, in order."""
    path = Path(folder) / "machines.txt"
    return path.read_text().split() if path.exists() else []


def _note_machine(folder):
    import ray

    with (Path(folder) / "machines.txt").open("a") as file:
        file.write(ray.get_runtime_context().get_node_id() + "\n")


def by_name_there(folder):
    """Note the machine, and do what the name of the folder says."""
    _note_machine(folder)
    return by_name(folder)


def wait_for_go(folder):
    """Note the machine and the GPUs, and be done when there is a file ``go`` beside the folder."""
    (Path(folder) / "gpus.txt").write_text(os.environ.get("CUDA_VISIBLE_DEVICES", "all"))
    _note_machine(folder)
    while not (Path(folder).parent / "go").exists():
        time.sleep(0.05)
