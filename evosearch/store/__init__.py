"""What lies on the disk: a run's folder with its journal, checkpoint and lock, and the ledger that runs share.

disk      every change of a file, so that a test can put a fault at any; one way to replace a file or a folder whole
framing   files of framed msgpack records: the journal, the checkpoint, the ledger
lock      one process writes a run at a time
run       a run's folder: its journal of what happened, its checkpoint to go on from
verify    what of a run does not check, and what can be mended
ledger    scores that runs on this machine share
"""
