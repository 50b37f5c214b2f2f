"""The simulator with its inner loops compiled, in a copy of the package: no product."""
