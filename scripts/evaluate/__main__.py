"""python -m scripts.evaluate WHAT: motion is what there is to measure here."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from scripts.evaluate import motion

WHAT = {"motion": motion.main}


def main(arguments: Sequence[str]) -> int:
    """Dispatch to the one that measures; returns the exit code."""
    if not arguments or arguments[0] not in WHAT:
        print(f"usage: python -m scripts.evaluate {{{','.join(WHAT)}}} [options]", file=sys.stderr)
        return 2
    try:
        return WHAT[arguments[0]](arguments[1:])
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
