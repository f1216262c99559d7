"""From logits to an answer's tokens, several at a time where they can be guessed.

Here: prompt lookup decoding (Saxena 2023, https://github.com/apoorvumang/prompt-lookup-decoding). What followed the
last time that the latest tokens stood in the conversation is read along with the latest token; a guess stands if it is
the token that would have been chosen without it, so guesses change how soon an answer is there and nothing else. Not
here: choosing one token (`decode`), reading (`model`).
"""

from session.decode import Chooser, Options

LONGEST = 3  # tokens that are looked up; where these never stood before, fewer, down to what trust allows


class Writing:
    """An answer while it is written. `ids`: all tokens so far, the prompt's too.

    guesses: the most tokens to guess at a time. Of a 2B model a step with one guess takes 1.1 times as long as one
    without, with three 1.4 times (benchmarks/guesses.py), so it dares more tokens, upon a shorter match, after guesses
    that stood, and wants a longer match after one that fell.
    """

    def __init__(self, options: Options, prompt_ids: list[int], guesses: int):
        self.ids, self._options, self._guesses = list(prompt_ids), options, guesses
        self._trust = 0  # how many guesses in a row stood; 0 after one that fell, -1 after more
        self._chooser = Chooser(options, len(prompt_ids))
        self._left = options.max_new_tokens
        self._text = "".join(map(chr, self.ids))  # a character for each token: searched at the speed of C

    @property
    def done(self) -> bool:
        return not self._left or self.ended

    @property
    def ended(self) -> bool:
        """The model ended the answer itself."""
        return self.ids[-1] in self._options.ends

    def guess(self) -> list[int]:
        """The tokens that may come next, at most one less than may still be written."""
        most = min(1 + max(0, self._trust), self._guesses, self._left - 1)
        shortest = 2 - max(-1, min(1, self._trust))
        for length in range(LONGEST, shortest - 1, -1):
            at = self._text.rfind(self._text[-length:], 0, -1)
            if at >= 0:
                return [ord(token) for token in self._text[at + length :][:most]]
        return []

    def choose(self, logits, guess: list[int]) -> list[int]:
        """New tokens: those of `guess` that stand, and one more unless the answer ends before it.

        logits: (1 + len(guess), vocabulary), of the last of `ids` and of every guess.
        """
        new = []
        for row, guessed in zip(logits, [*guess, None], strict=True):
            new.append(self._chooser.choose(self.ids, row))
            self.ids.append(new[-1])
            self._text += chr(new[-1])
            self._left -= 1
            if self.done or new[-1] != guessed:
                break
        if guess:
            stood = len(new) > len(guess)
            self._trust = self._trust + 1 if stood else 0 if self._trust > 0 else -1
        return new
