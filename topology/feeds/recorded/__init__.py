"""Recorded days as a source: files, on their lines; rows, a line; fields, a value."""
