"""Whether there is a Ray cluster at an address."""

import logging
import socket
import subprocess
import sys
from urllib.parse import urlsplit

from arithprobe.errors import ArithprobeError
from arithprobe.sweeps.engine import one_line

QUIET = {"log_to_driver": False, "logging_level": logging.ERROR}
"""What keeps Ray from printing, in the words of ``ray.init``."""
_PROBE = f"""
import sys, ray
try:
    ray.init(address=sys.argv[1], **{QUIET})
    sys.stdout.write("joined")
except Exception as error:
    sys.stdout.write(" ".join(f"{{type(error).__name__}}: {{error}}".split())[:400])
"""


def require_cluster(address: str, wait_s: float) -> None:
    """Refuse an address where no cluster answers.

    Ray itself waits for minutes, prints, and may end the process; so it is asked in another one.

    Args:
        address: ``auto``, ``HOST:PORT`` or ``ray://HOST:PORT``.
        wait_s: Longest wait for an answer, in seconds.

    Raises:
        ArithprobeError: If there is none.
    """
    hint = "a machine that is not part of the cluster joins by ray://HOST:10001"
    if address == "auto":
        hint = "start one with 'ray start --head'"
    else:
        try:
            place = urlsplit(address if "://" in address else f"//{address}")
            host, port = place.hostname, place.port
        except ValueError:
            host, port = None, None
        if not host or not port:
            raise ArithprobeError(f"address is {address}; expected auto, HOST:PORT or ray://HOST:PORT")
        try:
            socket.create_connection((host, port), timeout=wait_s).close()
        except OSError as error:
            raise ArithprobeError(f"address is {address}; nothing answers there ({one_line(error)})") from error
    words = [sys.executable, "-P", "-c", _PROBE, address]
    try:
        answer = subprocess.run(words, capture_output=True, text=True, timeout=wait_s, check=False).stdout
    except subprocess.TimeoutExpired:
        answer = f"no answer within {wait_s:g} s"
    if answer != "joined":
        raise ArithprobeError(f"address is {address}; no Ray cluster can be joined there ({answer}); {hint}")
