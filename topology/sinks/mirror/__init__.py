"""The mirror: the newest values, streams and messages in Redis.

mirror     written: data and positions by one script    streams    what frames become
reader     streams and latest values, read              pubsub     messages, as they are published
breaker    what keeps a worker responsive while Redis is away
"""
