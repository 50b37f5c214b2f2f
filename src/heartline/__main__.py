"""`python -m heartline` is the command `heartline`."""

from heartline.cli import main

main()
