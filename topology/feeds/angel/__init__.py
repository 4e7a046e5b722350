"""Angel One SmartAPI as a feed: its binary packets (``packets``)."""
