"""Angel One SmartAPI as a feed: its packets (``packets``), and how often it may be asked (``limits``, ``backoff``)."""
