"""Everyday English, known to the embedded recogniser in every place.

`data/background.txt`: the commonest words with their natural-log probabilities, read out of the unigrams of
pocketsphinx's own language model (BSD licence) by `python -m agent.speech.background`.
`data/everyday.txt`: sentences of any conversation at a desk, written for this project.
"""

from __future__ import annotations

import math
import re
from functools import cache
from pathlib import Path

_DATA = Path(__file__).parent / "data"
COUNT = 3000


@cache
def background_words() -> dict[str, float]:
    """Word -> probability."""
    lines = (_DATA / "background.txt").read_text().splitlines()
    return {word: math.exp(float(log)) for word, log in (line.split() for line in lines)}


@cache
def everyday_sentences() -> tuple[str, ...]:
    """Greetings, thanks, and the shapes of questions."""
    lines = (_DATA / "everyday.txt").read_text().splitlines()
    return tuple(line for line in lines if line and not line.startswith("#"))


def main() -> None:
    """Write data/background.txt anew."""
    from pocketsphinx import Decoder, get_model_path

    model = Decoder(loglevel="FATAL").get_lm()
    dictionary = Path(get_model_path("en-us")) / "cmudict-en-us.dict"
    words = {line.split()[0] for line in dictionary.read_text().splitlines() if line}
    plain = [word for word in words if re.fullmatch(r"[a-z]+('[a-z]+)?", word) and (len(word) > 1 or word in "ai")]
    # pocketsphinx counts in logarithms to the base 1.0001.
    ranked = sorted(((model.prob([word]) * math.log(1.0001), word) for word in plain), reverse=True)[:COUNT]
    (_DATA / "background.txt").write_text("".join(f"{word} {log:.3f}\n" for log, word in ranked))


if __name__ == "__main__":
    main()
