"""Angel One SmartAPI as a feed.

feed             the days, from login to logout          hours              when a day opens and closes
feed_connection  a socket that is kept open              broker_socket      that socket, once
connection_group the instruments of a connection or two  liveness           whether one is up, silent or dead
source_selector  which of two connections is used        suspect_spans      what may be wrong of what came
packets          the bytes of a packet                   translator         packets to ticks, quotes, baselines
backfiller       brings history into the log             backfill_queue     what is still to be asked for
backfill_report  what has come, for people               events             what is recorded of all this

The broker's client and the account are in `topology.angel`.
"""

KNOWN_SMARTAPI = {"1.5.5"}
"""The versions of the broker's client that `topology.angel.client` is known to mend. Here, since that one takes a while
to import."""
