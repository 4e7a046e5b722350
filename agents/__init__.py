"""The arrows: what reads a topic, calls the pure core once, and sends what comes out."""
