"""The account at Angel One: what the feed, the gateway and, later, orders call.

client         the broker's SDK, mended                 login          log in, renew, log out
answers        what its answers mean                    refusals       refused logins, counted on disk
rate_limits    how often each endpoint may be called    history_api    candles of the past
master/        the instrument master
"""
