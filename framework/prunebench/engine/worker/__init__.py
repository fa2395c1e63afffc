"""The process that runs trials for one device slot: `python -m prunebench.engine.worker FD`.

It speaks JSON lines over the socket `FD`: a `Hello` first, then an `Order` a trial; `Report`s come back. Whatever a
plugin does, either a valid report goes home or this process dies, and the supervisor knows what that means. Its own
prints are nobody's protocol: stdout and stderr are a log.
"""
