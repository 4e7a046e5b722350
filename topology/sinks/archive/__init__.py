"""The archive: candles, indicator values and gaps in SQLite.

archive    written: rows and positions in one transaction    rows       what frames become
reader     read for the gateway, while it is written         history    candles for timeframes that are new
"""
