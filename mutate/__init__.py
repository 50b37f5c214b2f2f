"""Faults planted in the core, and whether the tests and the simulator notice them."""
