"""Sinks: where the facts of the log go so that others can read them.

Every sink compares and sets. It keeps, beside the data and moved by the same transaction or script, the position that
it has applied of each source (``applied``). So it starts reading from there, drops what it knows, and an emptied sink
fills itself again from the log. ``values`` is the JSON that leaves the system, ``sqlite`` the archive, ``redis`` the
mirror, ``streams`` what frames become in Redis, ``breaker`` what keeps a worker responsive while Redis is away.
"""
