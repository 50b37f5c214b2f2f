"""`python -m heartline` is the command `heartline`."""

from heartline_command import main

main()
