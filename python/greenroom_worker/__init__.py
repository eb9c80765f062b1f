"""Loads a user's `Model` class and answers for it over a socket.

Runs inside the model's own environment, so it needs nothing but the standard library (Python 3.8 to 3.14).
HTTP, limits, timeouts and logs belong to `greenroom-replica`, which starts this worker.
"""
