"""The broker, SIMULATED: Angel One's login, REST, instrument master and market data socket on one port.

    source.py      what is printed on the simulated exchange: a walk (walk.py, curve.py) or a recording (recording.py)
    quotes.py      an instrument's day, and the broker's packets of it
    history.py     its candles; master.py and listings.py its instruments; session.py who is logged in
    faults.py      what goes wrong when; socket_faults.py what that does to a socket's packets; ledger.py what it hid
    stream.py      the WebSocket, with distribution.py for who is sent what; rest.py and orders.py the REST routes
    server.py      all of it on one port

Everything up to ledger.py is pure: `Simulator` has a clock that is given to it, and does what is due when it moves.
"""

from topology.simulator.faults import FaultError
from topology.simulator.listings import catalogue, chosen
from topology.simulator.recording import Recording
from topology.simulator.server import MASTER_PATH, STREAM_PATH, Simulator
from topology.simulator.session import DEMONSTRATION, account_or_demonstration
from topology.simulator.walk import Walk

__all__ = [
    "DEMONSTRATION",
    "MASTER_PATH",
    "STREAM_PATH",
    "FaultError",
    "Recording",
    "Simulator",
    "Walk",
    "account_or_demonstration",
    "catalogue",
    "chosen",
]
