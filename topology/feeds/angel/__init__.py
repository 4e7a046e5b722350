"""Angel One SmartAPI as a feed.

A day: ``feed`` its hours (``hours``), ``session`` the login, ``line`` a socket that is kept open, ``connection`` that
socket once, ``watch`` its health, ``group`` the instruments on a line or two, ``sources`` which of these brings what. A
packet: ``packets`` its bytes, ``translate`` what it tells. ``sdk`` is the broker's client, mended, ``answers`` what it
answers, ``limits`` and ``backoff`` when to ask again.

History: ``backfiller`` knows what is needed and brings it, ``queue`` keeps what is still to be asked for, ``candles``
are the broker's calls and answers, ``tally`` says what has come.

The instrument master: ``listing`` a row, ``listings`` the copy on disk, ``search`` what is found in it, ``master`` how
it is fetched, ``symbols`` what a symbol stands for.
"""

KNOWN_SMARTAPI = {"1.5.5"}
"""The versions of the broker's client that `sdk` is known to mend. Here, since that one takes a while to import."""
