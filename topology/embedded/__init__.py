"""Kafka and Valkey as child processes on loopback, from Python packages alone: no Docker, no installed Java.

For a machine that has no broker and no Redis of its own, and for tests. A service keeps what it holds in the folder
it is given and dies with the process that started it.
"""

from topology.embedded.child import EmbeddedError, Progress
from topology.embedded.kafka import Kafka
from topology.embedded.loopback import free_port
from topology.embedded.valkey import Valkey

__all__ = ["EmbeddedError", "Kafka", "Progress", "Valkey", "free_port"]
