"""Angel One SmartAPI as a feed.

``packets`` the binary packets, ``translate`` what they tell; ``sdk`` the broker's client, mended; ``socket`` one
connection, ``watch`` what is known of its health; ``limits`` and ``backoff`` when to ask again.
"""
