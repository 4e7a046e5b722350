"""The WebSocket: what the mirror says, passed on to any number of clients, with what came before.

    socket      the view `/ws`: a client's requests are read, and it is closed in order
    requests    what a client may write                     asked      what it asks for, as far as there is such a thing
    answers     SUBSCRIBE and UNSUBSCRIBE                   client     what waits to be sent to it
    names       channels, and what they are of              line       a channel: its newest messages, and who hears it
    hub         lines, clients, what goes between them      opening    the connection to Redis, and what it hears
    past        what came before, out of Redis and SQLite   folds      timeframes that are not stored
    everything  for clients that subscribe nothing          news       what all clients are told beside pushes

A *line* is a channel that somebody listens to. It remembers the newest confirmed messages, and from which position on
it has all of them. So a client can be let in at any moment without a gap or a repeat: what the stores hold up to a
position and what the line remembers beyond it become one snapshot, in one piece with the decision that the client hears
the line.
"""
