"""`python -m agent` is `visavis`."""

from agent.cli import main

main()
