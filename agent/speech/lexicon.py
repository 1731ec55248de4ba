"""From sentences about a place to the files with which pocketsphinx hears them: language model and dictionary."""

from __future__ import annotations

import logging
import re
import subprocess
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from agent.speech.arpabet import ARPABET, from_flite
from agent.speech.background import background_words, everyday_sentences
from agent.speech.espeak import pronounce
from agent.speech.flite import flite_path
from agent.speech.ngram import Ngrams, train

logger = logging.getLogger(__name__)

BACKGROUND_SHARE = 0.2
QUESTION_WEIGHT, STATEMENT_WEIGHT, EVERYDAY_WEIGHT = 4.0, 1.0, 1.0
MAX_SENTENCES = 50_000
MAX_NEW_WORDS = 3000

_ONES = [
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
]  # fmt: skip
_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_SYMBOLS = {
    "€": " euros ",
    "£": " pounds ",
    "$": " dollars ",
    "%": " percent ",
    "&": " and ",
    "+": " plus ",
    "@": " at ",
}


@dataclass(frozen=True, slots=True)
class LanguageFiles:
    """What a decoder needs.

    domain_words: the words of the place's sentences and of everyday phrases.
    whole_words: those that are a sentence by themselves (`hello`, `stop`).
    unpronounced: words that nobody knows how to say; their sentences are left out.
    """

    lm_path: Path
    dict_path: Path
    domain_words: frozenset[str]
    whole_words: frozenset[str]
    unpronounced: tuple[str, ...]


def prepare(sentences: Sequence[str], folder: Path) -> LanguageFiles:
    """Write `domain.arpa` and `domain.dict` into `folder`. Takes about 0.5 s for a few hundred sentences (blocking)."""
    weighted = list(weigh(sentences[:MAX_SENTENCES]))
    pronunciations, unpronounced = look_up({word for words, _ in weighted for word in words} | {*background_words()})
    known = [(words, weight) for words, weight in weighted if all(word in pronunciations for word in words)]
    background = {word: p for word, p in background_words().items() if word in pronunciations}
    model: Ngrams = train(known, background, background_share=BACKGROUND_SHARE)
    lm_path, dict_path = folder / "domain.arpa", folder / "domain.dict"
    with lm_path.open("w") as out:
        model.write_arpa(out)
    with dict_path.open("w") as out:
        for word in sorted(model.words):
            for i, phones in enumerate(pronunciations[word]):
                out.write(f"{word}{f'({i + 1})' if i else ''} {phones}\n")
    if unpronounced:
        logger.warning("no pronunciation for %d words, such as %s", len(unpronounced), ", ".join(unpronounced[:5]))
    domain_words = frozenset(word for words, _ in known for word in words)
    whole_words = frozenset(words[0] for words, _ in known if len(words) == 1)
    return LanguageFiles(lm_path, dict_path, domain_words, whole_words, unpronounced)


def weigh(sentences: Iterable[str]) -> Iterable[tuple[list[str], float]]:
    """Word lists with weights: questions are what visitors say; statements lend their words."""
    for sentence in everyday_sentences():
        yield normalise(sentence), EVERYDAY_WEIGHT
    for sentence in sentences:
        statement = sentence.rstrip().endswith((".", "!"))
        for part in re.split(r"[.?!;:,\n](?=\s|$)", sentence):
            if words := normalise(part):
                yield words, STATEMENT_WEIGHT if statement else QUESTION_WEIGHT


def normalise(text: str) -> list[str]:
    """Lower-case words as the dictionary spells them; figures and currency signs in words."""
    for symbol, spoken in _SYMBOLS.items():
        text = text.replace(symbol, spoken)
    text = unicodedata.normalize("NFKD", text.replace("’", "'").replace("ß", "ss"))
    text = text.encode("ascii", "ignore").decode().lower()
    text = re.sub(r"(?<=\d),(?=\d{3})", "", text)
    text = re.sub(r"\d+", lambda m: f" {number_words(m[0])} ", text)
    return re.findall(r"[a-z]+(?:'[a-z]+)*", text)


def number_words(digits: str) -> str:
    """`"115"` -> `"one hundred fifteen"`; telephone numbers digit by digit."""
    n = int(digits)
    if len(digits) > 6 or (len(digits) > 1 and digits[0] == "0"):
        return " ".join(_ONES[int(digit)] for digit in digits)
    if n < 20:
        return _ONES[n]
    if n < 100:
        return _TENS[n // 10 - 2] + (f" {_ONES[n % 10]}" if n % 10 else "")
    if n < 1000:
        return f"{_ONES[n // 100]} hundred" + (f" {number_words(str(n % 100))}" if n % 100 else "")
    if 1100 <= n < 2000 or 2010 <= n < 2100:  # years, which is what such figures mostly are
        return f"{number_words(str(n // 100))} {number_words(str(n % 100)) if n % 100 else 'hundred'}"
    return f"{_ONES[n // 1000]} thousand" + (f" {number_words(str(n % 1000))}" if n % 1000 else "")


@cache
def _dictionary() -> dict[str, list[str]]:
    """CMUdict as pocketsphinx carries it: word -> pronunciations."""
    from pocketsphinx import get_model_path

    entries: dict[str, list[str]] = {}
    for line in (Path(get_model_path("en-us")) / "cmudict-en-us.dict").read_text().splitlines():
        word, _, phones = line.partition(" ")
        entries.setdefault(word.partition("(")[0], []).append(phones.strip())
    return entries


def look_up(words: Iterable[str]) -> tuple[dict[str, list[str]], tuple[str, ...]]:
    """Pronunciations of the words, by dictionary, else by letter-to-sound rules; and the words that have none."""
    dictionary = _dictionary()
    found: dict[str, list[str]] = {}
    unknown: list[str] = []
    for word in sorted(set(words)):
        if word in dictionary:
            found[word] = dictionary[word]
        elif len(unknown) < MAX_NEW_WORDS:
            unknown.append(word)
    found |= {word: [" ".join(phones)] for word, phones in letters_to_sounds(unknown).items()}
    return found, tuple(word for word in unknown if word not in found)


def letters_to_sounds(words: Sequence[str]) -> dict[str, list[str]]:
    """Phones of words that no dictionary has, by flite's rules or else by espeak-ng's; without those neither knows."""
    flite = flite_path()
    if flite is None:
        return pronounce(words)
    found: dict[str, list[str]] = {}
    for word in words:
        assert re.fullmatch(r"[a-z']+", word), word
        command = [flite, "-voice", "kal16", "-ps", "-t", word, "none"]
        run = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)  # noqa: S603
        phones = [name for name in map(from_flite, run.stdout.split()) if name in ARPABET]
        if phones:
            found[word] = phones
    return found
