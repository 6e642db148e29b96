"""The tests: one file for each module, each test a behaviour."""
