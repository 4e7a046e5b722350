"""TradingView's UDF: what its charts ask of a data feed. Prices are in rupees, times in epoch seconds.

Source: the datafeed protocol of TradingView's charting library (UDF). A symbol is called ``NSE:RELIANCE-EQ`` or
``NSE:2885``; its ticker is the latter.
"""
