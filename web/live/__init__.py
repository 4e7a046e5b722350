"""The WebSocket: what the mirror says, passed on to any number of clients, with what came before.

    requests    what a client may ask for                   names      channels, and what they are of
    line        a channel: its newest messages, who hears   client     what waits to be sent to a client
    hub         lines and clients; the connection to Redis  history    what came before, out of Redis and SQLite
    answers     SUBSCRIBE and UNSUBSCRIBE                   socket     the view `/ws`

A *line* is a channel that somebody listens to. It remembers the newest confirmed messages, and from which position on
it has all of them. So a client can be let in at any moment without a gap or a repeat: what the stores hold up to a
position, then what the line remembers beyond it, in one piece with the decision that the client hears the line.
"""
