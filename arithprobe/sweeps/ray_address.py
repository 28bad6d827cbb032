"""Whether there is a Ray cluster at an address: Ray itself waits for minutes, prints, and may end the process."""

import logging
import os
import subprocess
import sys
from typing import Any
from urllib.parse import urlsplit

from arithprobe.errors import ArithprobeError
from arithprobe.sweeps.engine import one_line

QUIET: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
"""What keeps Ray from printing, in the words of ``ray.init``."""
_YES = "joined"
_TOKEN = "it asks for a token: set RAY_AUTH_MODE=token, and have the ~/.ray/auth_token of its head here"
_QUESTIONS = {"": "/ray.rpc.NodeInfoGcsService/CheckAlive", "ray": "/ray.rpc.RayletDriver/ClusterInfo"}


def require_cluster(address: str, wait_s: float) -> None:
    """Refuse an address where no cluster answers; another process asks.

    Args:
        address: ``auto``, ``HOST:PORT`` or ``ray://HOST:PORT``.
        wait_s: Longest wait for an answer, in seconds.

    Raises:
        ArithprobeError: If there is none, or not in this time.
    """
    if address != "auto" and not _is_complete(address):
        raise ArithprobeError(f"address is {address}; expected auto, HOST:PORT or ray://HOST:PORT")
    words = [sys.executable, "-P", "-m", __name__, address]
    try:
        answer = subprocess.run(words, capture_output=True, text=True, timeout=wait_s, check=False).stdout
    except subprocess.TimeoutExpired:
        answer = f"no answer within {wait_s:g} s"
    if answer != _YES:
        hint = "" if "://" in address else "; a machine that is not part of the cluster joins by ray://HOST:10001"
        if address == "auto":
            hint = "; start one with 'ray start --head'"
        raise ArithprobeError(f"address is {address}; no Ray cluster can be joined there ({answer}){hint}")


def _is_complete(address: str) -> bool:
    try:
        place = urlsplit(address if "://" in address else f"//{address}")
        return place.scheme in _QUESTIONS and bool(place.hostname and place.port)
    except ValueError:
        return False


def _ask(address: str) -> str:
    """Yes, or in one line why not. Of a server of clients only whether it is there: joining that is bounded in time."""
    scheme, _, target = address.rpartition("://")
    if address != "auto" and os.environ.get("RAY_USE_TLS", "0").lower() not in ("1", "true"):
        import grpc

        with grpc.insecure_channel(target, options=[("grpc.enable_http_proxy", 0)]) as channel:
            try:
                channel.unary_unary(_QUESTIONS[scheme])(b"")
            except grpc.RpcError as error:
                if error.code() is grpc.StatusCode.UNAVAILABLE:
                    return " ".join(str(error.details()).split())[:300]
                if error.code() is grpc.StatusCode.UNAUTHENTICATED and os.environ.get("RAY_AUTH_MODE") != "token":
                    return _TOKEN
    if not scheme:
        import ray

        try:
            ray.init(address=address, **QUIET)
        except (ray.exceptions.RayError, RuntimeError, OSError, ValueError) as error:
            return one_line(error)[:300]
    return _YES


if __name__ == "__main__":
    sys.stdout.write(_ask(sys.argv[1]))
