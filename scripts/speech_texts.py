"""Endless varied English sentences for synthesisers to speak."""

from __future__ import annotations

from pathlib import Path

import numpy as np

_PEOPLE = """
my brother|the old captain|a young nurse|our guide|the museum director|Mary|Peter|Barbara|the boy with the blue
bicycle|every visitor|nobody here|the woman from Brazil|a very famous painter|the bus driver|my favourite
teacher| Doctor Thompson|the people upstairs|both of my parents|the shopkeeper|George|Charlotte|the chef|a group
of musicians| the children|your neighbour|Father Hughes|the judge|his former boss|some fishermen|the pilot
"""
_VERBS = """
found|bought|forgot|would rather have|could not open|was looking for|has already measured|painted|carried|
remembered|showed us|may borrow|should never touch|threw away|kept|is going to repair|wished for|noticed|brought
back| described|had been waiting for|removed|will choose|sold|put down|washed|used to love|gave
up|imagined|proved
"""
_THINGS = """
a pair of brown boots|the map of the world|five cups of tea|that beautiful piano|an umbrella|the wooden box|
fresh bread and butter|a photograph of the moon|the wrong number|some vegetables|the purple balloon|a new
method| both keys|the first chapter|his grandmother's watch|a cheap ticket|the whole puzzle|a jar of honey|this
machine| the missing page|an enormous fish|a small measure of gold|the yellow jersey|an orange juice|the
television|a thick rope| three thousand shells|the usual nonsense|a joyful noise|the power cable
"""
_PLACES = """
in the middle of the garden|behind the church|at half past five|before breakfast|on the way to Boston| under the
bridge|near the river|last Thursday|without a word|for the fourth time|at the end of the hall|with great
pleasure| because of the weather|after the show|in July|by the window|upstairs|in a small village|every other
Wednesday| from the other side|during the measurement|through the narrow door|as soon as possible|over the
mountains
"""
_QUESTIONS = """
What time does the museum open|How much is a family ticket|Where can I leave my coat|Do you have a map| Could
you say that again please|Why is the sky blue|Which bus goes to the harbour|Is there a cafe nearby|Who made
this| When is the next show|May I take photographs|Would you like some help|Have you ever been to Paris|Shall we
begin| How do I get to the third floor|What should I see first|Are dogs allowed|Can you hear me|What is your
favourite exhibit| Does the ship still move
"""
_SHORT = """
Hello|Good morning|Thank you very much|Goodbye|Of course|I am sorry|Let me see|Well, maybe|You are welcome| Yes,
please|No problem|Just a moment|That is right|Absolutely|I do not know|Please follow me|Wow|Excuse me| Watch
out|Have fun
"""


def _choices(block: str) -> list[str]:
    return [" ".join(item.split()) for item in block.split("|") if item.strip()]


class Texts:
    """Endless varied sentences: templates, and runs of dictionary words for phones in every order."""

    def __init__(self, seed: int, words: list[str]) -> None:
        self._rng = np.random.default_rng(seed)
        self._words = words
        blocks = {"p": _PEOPLE, "v": _VERBS, "t": _THINGS, "l": _PLACES, "q": _QUESTIONS, "s": _SHORT}
        self._lists = {name: _choices(block) for name, block in blocks.items()}

    def _pick(self, name: str) -> str:
        options = self._lists[name]
        return options[int(self._rng.integers(len(options)))]

    def next(self) -> str:
        """One text of about 2 to 8 seconds."""
        rng = self._rng
        kind = rng.random()
        if kind < 0.35:
            return f"{self._pick('p')} {self._pick('v')} {self._pick('t')} {self._pick('l')}."
        if kind < 0.45:
            return f"{self._pick('s')}. {self._pick('q')}?"
        if kind < 0.52:
            unit = rng.choice(["metres", "dollars", "people", "years", "pages"])
            return f"It is {rng.integers(2, 9999)} {unit}, {self._pick('l')}."
        picked = [self._words[int(i)] for i in rng.integers(len(self._words), size=int(rng.integers(4, 12)))]
        if rng.random() < 0.5:
            picked.insert(len(picked) // 2, ",")
        return " ".join(picked).replace(" ,", ",") + "."


def dictionary_words() -> list[str]:
    """Plain words of the pronunciation dictionary that pocketsphinx brings."""
    import pocketsphinx

    path = Path(pocketsphinx.__file__).parent / "model" / "en-us" / "cmudict-en-us.dict"
    words = (line.split(" ", 1)[0] for line in path.read_text().splitlines())
    return [word for word in words if word.isalpha() and 3 <= len(word) <= 11]
