"""A small n-gram language model, so that the embedded recogniser expects what is asked in this place.

Trigrams over the sentences of the domain, smoothed by interpolated Witten-Bell (Chen & Goodman 1999, section 2.5), over
a unigram floor of everyday words: a word outside the domain stays possible, so that a question from elsewhere is heard
as one and not bent into a question that we can answer. Written in the ARPA format that pocketsphinx reads.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TextIO

START, END = "<s>", "</s>"
ORDER = 3

_FLOOR = 1e-9
_NEVER = -99.0

Gram = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Ngrams:
    """Back-off model: log10 probabilities of the n-grams, log10 back-off weights of their histories."""

    log_prob: dict[Gram, float]
    log_backoff: dict[Gram, float]

    @property
    def words(self) -> set[str]:
        """Every word that can be heard."""
        return {gram[0] for gram in self.log_prob if len(gram) == 1} - {START, END}

    def score(self, sentence: Sequence[str]) -> float:
        """log10 probability of the sentence including its end; unknown words are not allowed (KeyError)."""
        words = [START, *sentence, END]
        return sum(self._word(tuple(words[max(0, i - ORDER + 1) : i]), words[i]) for i in range(1, len(words)))

    def _word(self, history: Gram, word: str) -> float:
        gram = (*history, word)
        if gram in self.log_prob:
            return self.log_prob[gram]
        if not history:
            raise KeyError(word)
        return self.log_backoff.get(history, 0.0) + self._word(history[1:], word)

    def write_arpa(self, out: TextIO) -> None:
        """The ARPA text format."""
        by_order = [sorted(gram for gram in self.log_prob if len(gram) == n) for n in range(1, ORDER + 1)]
        out.write("\\data\\\n")
        for n, grams in enumerate(by_order, 1):
            out.write(f"ngram {n}={len(grams)}\n")
        for n, grams in enumerate(by_order, 1):
            out.write(f"\n\\{n}-grams:\n")
            for gram in grams:
                line = f"{self.log_prob[gram]:.4f}\t{' '.join(gram)}"
                if n < ORDER:
                    line += f"\t{self.log_backoff.get(gram, 0.0):.4f}"
                out.write(line + "\n")
        out.write("\n\\end\\\n")


def train(
    weighted_sentences: Iterable[tuple[Sequence[str], float]],
    background: Mapping[str, float],
    *,
    background_share: float,
) -> Ngrams:
    """Fit the model.

    weighted_sentences: words of a sentence, how often to count it.
    background: everyday words with relative weights (any positive scale).
    background_share: 0..1, of the unigram mass that the everyday words get.
    """
    if not 0 <= background_share < 1:
        raise ValueError(f"background_share must be in [0, 1), not {background_share}")
    counts: list[dict[Gram, dict[str, float]]] = [defaultdict(lambda: defaultdict(float)) for _ in range(ORDER)]
    for sentence, weight in weighted_sentences:
        words = [START, *sentence, END]
        for i in range(1, len(words)):
            for n in range(ORDER):
                if i - n >= 0:
                    counts[n][tuple(words[i - n : i])][words[i]] += weight
    domain = counts[0].get((), {})
    if not domain:
        raise ValueError("There is no sentence to learn from.")

    total = sum(domain.values())
    background_total = sum(background.values())
    share = background_share if background_total > 0 else 0.0
    prob: dict[Gram, float] = {}
    for word in {*domain, *background}:
        from_background = background.get(word, 0.0) / background_total if share else 0.0
        prob[(word,)] = max(_FLOOR, (1 - share) * domain.get(word, 0.0) / total + share * from_background)

    log_backoff: dict[Gram, float] = {}
    for n in range(1, ORDER):
        for history, followers in counts[n].items():
            mass = sum(followers.values())
            kinds = len(followers)
            backoff = kinds / (mass + kinds)
            for word, count in followers.items():
                lower = prob[(*history[1:], word)]
                prob[(*history, word)] = (1 - backoff) * count / mass + backoff * lower
            # In an interpolated model the back-off weight is the interpolation weight itself.
            log_backoff[history] = math.log10(backoff)
    log_prob = {gram: math.log10(p) for gram, p in prob.items()}
    log_prob[(START,)] = _NEVER
    return Ngrams(log_prob, log_backoff)
