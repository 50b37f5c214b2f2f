"""The pure heart: facts and the time in, commands and events out. No I/O, no clock."""
