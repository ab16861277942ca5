"""ROS domains for test processes that run side by side: no two get the same.

A domain has the ports from 7400 + 250 * domain on. The last one is far above those that a
participant takes; who holds it (for TCP, which DDS does not use there) has the domain. The system
frees it with the process, and sees everybody who could talk to us on this host.
"""

from __future__ import annotations

import random
import socket

FIRST_PORT, PORTS_EACH = 7400, 250
NUM_DOMAINS = 101  # those above reach into the ports that the system hands out by itself

_held: dict[int, socket.socket] = {}


def own_domain() -> int:
    """A domain that belongs to this process until it ends."""
    for domain in random.sample(range(NUM_DOMAINS), NUM_DOMAINS):
        holder = socket.socket()
        try:
            holder.bind(("127.0.0.1", FIRST_PORT + PORTS_EACH * (domain + 1) - 1))
        except OSError:
            holder.close()
        else:
            _held[domain] = holder
            return domain
    raise RuntimeError(
        f"all ROS domains from 0 to {NUM_DOMAINS - 1} are held by test processes; end some"
    )
