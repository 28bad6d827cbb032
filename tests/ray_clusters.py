"""Ray clusters of several machines, each of them processes on this one; and tasks that say where they ran."""

import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def free_port():
    """A port that nobody listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


class Machines:
    """A head with one CPU, and a second machine with one CPU and one GPU that nothing has to be there for."""

    def __init__(self):
        from ray.cluster_utils import Cluster

        self.client_port = free_port()
        head = {"num_cpus": 1, "include_dashboard": False, "ray_client_server_port": self.client_port}
        self.cluster = Cluster(initialize_head=True, head_node_args=head)
        self.address = self.cluster.address
        self.head, self.second = self.cluster.head_node.node_id, None
        self.join()

    def join(self):
        """Let the second machine join, if it is not there."""
        if self.second is None:
            self.second = self.cluster.add_node(num_cpus=1, num_gpus=1)
            self.cluster.wait_for_nodes()

    def lose(self):
        """Kill all processes of the second machine; returns its id."""
        lost, self.second = self.second, None
        self.cluster.remove_node(lost, allow_graceful=False)
        return lost.node_id


@contextmanager
def two_machines() -> Iterator[Machines]:
    """Within the block, there is a cluster whose workers can import the modules of tests."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = str(Path(__file__).parent)
    machines = Machines()
    try:
        yield machines
    finally:
        machines.cluster.shutdown()
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before


def started_on(folder):
    """Ids of the machines that a task was started on there, in order."""
    path = Path(folder) / "machines.txt"
    return path.read_text().split() if path.exists() else []


def wait_for_go(folder):
    """Note the machine, and be done when there is a file ``go`` beside the folder."""
    import ray

    with (Path(folder) / "machines.txt").open("a") as file:
        file.write(ray.get_runtime_context().get_node_id() + "\n")
    while not (Path(folder).parent / "go").exists():
        time.sleep(0.05)
