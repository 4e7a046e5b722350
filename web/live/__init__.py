"""The WebSocket: what the mirror publishes, passed on to any number of clients, with what came before.

    server         everything put together               socket             the view `/ws`: a client's requests are read
    requests       what a client may write               charts             what it asks for, as far as there is such
    subscriptions  SUBSCRIBE and UNSUBSCRIBE             client             what waits to be sent to it
    hub            from channels to listeners            registry           the channels by name
    channel_state  what may happen next on a channel     channel            its newest messages and its listeners
    redis_link     the connection to Redis' pub/sub      channel_history    what came before, out of Redis and SQLite
    firehose       for clients that subscribe nothing    resampled_channel  timeframes that are not stored
    broadcasts     what all clients get beside pushes    message_header     what is read of a message
    snapshots      what a client is shown first          metrics            counts of all this

A *channel* remembers its newest confirmed messages, and from which position on it has all of them. So a client can join
at any moment without a gap or a repeat: what the stores hold up to a position and what the channel remembers beyond it
become one snapshot, in one piece with the decision that the client listens.

A channel is cold, catching up, live or lost. When Redis comes back each one is subscribed again, and what comes is held
until what was published meanwhile has been read. Where it can't be read a new epoch begins, and every client gets what
it has subscribed anew.
"""
