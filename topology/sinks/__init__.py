"""Sinks: where the facts of the log go so that others can read them.

Every sink compares and sets. It holds, beside the data and moved by the same transaction or script, the position that
it has applied of each source (``cursor``). So it starts reading from there, drops duplicates, and an emptied sink
fills itself again from the log.

sink       the protocol                    registry    all sinks: a new one is a folder and a line there
values     the JSON that leaves the system
mirror/    Redis    archive/    SQLite    jsonl/    lines of JSON
"""
