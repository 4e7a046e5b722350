"""The log on the broker.

topics    names, making and checking them    broker_log    its header and commands    clients    who reads and looks
follow    one topic, for as long as a role runs    lag_report    how far each role is    errors    what can be wrong
"""
