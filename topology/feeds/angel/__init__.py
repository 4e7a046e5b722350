"""Angel One SmartAPI as a feed: its binary packets (``packets``) and its instrument master.

Of the master: ``listing`` a row, ``listings`` the copy on disk, ``search`` what is found in it, ``master`` how it is
fetched, ``symbols`` what a symbol stands for.
"""
