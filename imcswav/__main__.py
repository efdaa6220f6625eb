"""`python -m imcswav` is the command `imcswav`."""

from imcswav.cli import main

main()
