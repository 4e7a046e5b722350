"""The log: the format of its frames, the law of positions, and the three stages around the pure cores."""
