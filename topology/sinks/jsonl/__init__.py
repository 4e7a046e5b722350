"""Candles and indicator values as lines of JSON, in a file a day.

files    written: rows and positions, both or neither    lines    what frames become    sink    the sink
"""
