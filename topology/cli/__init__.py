"""The commands of `topology`: one module each, with `add` for its options and `run`."""
