"""An exercise is a list of cases, from cheap to subtle; the first that fails says what is wrong.

A case is a function that gets the learner's answer and raises `NotYet`, mostly through the `expect`
functions below; one that measures something may return what it measured, a sentence for the learner. Each
exercise also keeps wrong answers that learners really give. Tests prove that every one of them is rejected,
with the words that are meant for it.
"""

import logging
import traceback
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from html import escape
from typing import Any

NOT_ATTEMPTED, NOT_YET, CORRECT = "not attempted", "not yet", "correct"
SEED = 0


class NotYet(Exception):
    """A case failed.

    Args:
        message: one or two sentences for the learner.
    """


@dataclass(frozen=True)
class Result:
    """What a check found. A notebook shows it, grading reads it."""

    exercise: str
    state: str  # "not attempted", "not yet" or "correct"
    message: str
    passed: int  # cases that passed
    cases: int

    @property
    def correct(self) -> bool:
        return self.state == CORRECT

    def __str__(self) -> str:
        mark = {NOT_ATTEMPTED: "…", NOT_YET: "✗", CORRECT: "✓"}[self.state]
        return f"{mark} {self.exercise}: {self.state}. {self.message}"

    __repr__ = __str__

    def _repr_html_(self) -> str:
        # the words carry the meaning, the colour only repeats it
        color = {NOT_ATTEMPTED: "#767676", NOT_YET: "#b35900", CORRECT: "#1a7f37"}[self.state]
        mark, rest = str(self)[0], escape(f"{self.exercise}: {self.state}.")
        return (
            f'<div style="border-left: 4px solid {color}; padding: 4px 12px; white-space: pre-line">'
            f"{mark} <b>{rest}</b> {escape(self.message)}</div>"
        )


@dataclass(frozen=True)
class WrongAnswer:
    answer: Callable
    words: str  # of the message that is meant for it


@dataclass
class Exercise:
    """One exercise with its cases and its wrong answers.

    Args:
        name: as in "08-guidance", the sheet's number first.
        function: what the answer is called in the sheet; grading looks for this name.
        now_you_can: what a learner can do who solved it, one sentence.
    """

    name: str
    function: str
    now_you_can: str
    cases: list[Callable[[Any], str | None]] = field(default_factory=list)
    wrong_answers: list[WrongAnswer] = field(default_factory=list)

    def case(self, function: Callable[[Any], str | None]) -> Callable[[Any], str | None]:
        """Decorator: add a case, a function of the answer that raises `NotYet`, or says what it measured."""
        self.cases.append(function)
        return function

    def rejects(self, words: str) -> Callable[[Callable], Callable]:
        """Decorator: add a wrong answer, and words that its message must contain."""

        def add(answer: Callable) -> Callable:
            self.wrong_answers.append(WrongAnswer(answer, words))
            return answer

        return add

    def check(self, answer: Any) -> Result:
        """Run the cases in order, each with the same random numbers, until one fails."""
        import torch

        said = [f"You can now {self.now_you_can}."]
        for passed, case in enumerate(self.cases):
            with torch.random.fork_rng(devices=[]), _quiet():
                torch.manual_seed(SEED)
                try:
                    if measured := case(answer):
                        said.append(measured)
                except NotImplementedError as error:
                    if _raised_by(answer, error):
                        return self._result(NOT_ATTEMPTED, "Write your answer, then run the check again.", 0)
                    called = traceback.extract_tb(error.__traceback__)[-1].name
                    return self._result(
                        NOT_YET, f"Your code calls `{called}`, which is not written yet.", passed
                    )
                except NotYet as wrong:
                    return self._result(NOT_YET, str(wrong), passed)
                except Exception as error:
                    return self._result(NOT_YET, _crash(error), passed)
        return self._result(CORRECT, " ".join(said), len(self.cases))

    def _result(self, state: str, message: str, passed: int) -> Result:
        return Result(self.name, state, message, passed, len(self.cases))


@contextmanager
def _quiet():
    """Without the warnings of libraries: a check also tries the mistakes that it knows."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


def _raised_by(answer: Any, error: Exception) -> bool:
    """Whether the error comes from the answer itself, and not from what it calls."""
    last = error.__traceback__
    while last.tb_next:
        last = last.tb_next
    return last.tb_frame.f_code is getattr(answer, "__code__", None)


def _crash(error: Exception) -> str:
    """An error in the learner's code, with the line of theirs that raised it."""
    theirs = [frame for frame in traceback.extract_tb(error.__traceback__) if "ipykernel" in frame.filename]
    place = f" in the line `{theirs[-1].line}`" if theirs and theirs[-1].line else ""
    hint = ""
    if "Output" in str(error):
        hint = " (Networks and schedulers answer with objects: take .sample, .prev_sample or [0] of them.)"
    return f"Your code stopped with {type(error).__name__}{place}: {error}{hint}"


# What cases are made of ---------------------------------------------------------------------


def expect(condition: bool, message: str) -> None:
    """Raise `NotYet` unless `condition` holds."""
    if not condition:
        raise NotYet(message)


def expect_tensor(got: Any, shape: tuple[int, ...], what: str = "the result") -> None:
    """A tensor of this shape, without NaN."""
    import torch

    expect(got is not None, f"{what.capitalize()} is None: does your function end with a return?")
    expect(
        isinstance(got, torch.Tensor),
        f"{what.capitalize()} should be a tensor of shape {shape}, and is a {type(got).__name__}.",
    )
    expect(
        tuple(got.shape) == shape,
        f"{what.capitalize()} should have the shape {shape}, and has {tuple(got.shape)}.",
    )
    expect(bool(got.isfinite().all()), f"{what.capitalize()} holds numbers that are not finite.")


def close(got, expected, tolerance: float = 1e-4) -> bool:
    """Whether two tensors or numbers agree."""
    import torch

    got, expected = torch.as_tensor(got).float(), torch.as_tensor(expected).float()
    return got.shape == expected.shape and bool((got - expected).abs().max() <= tolerance)


def expect_close(
    got, expected, message: str, mistakes: dict[str, Any] | None = None, tolerance: float = 1e-4
):
    """A result that agrees with the expected one; else the mistake whose result it is, if that is known.

    Args:
        message: what was expected, one sentence.
        mistakes: from what is likely wrong, one sentence, to the result that this mistake gives, or to a
            function that computes it.
    """
    if close(got, expected, tolerance):
        return
    for why, result in (mistakes or {}).items():
        if close(got, result() if callable(result) else result, tolerance):
            raise NotYet(f"{message} {why}")
    raise NotYet(f"{message} {_numbers(got, expected)}")


def _numbers(got, expected) -> str:
    import torch

    got, expected = torch.as_tensor(got).float().flatten(), torch.as_tensor(expected).float().flatten()
    first = int((got - expected).abs().argmax())
    return f"Expected for example {expected[first]:.4g}, got {got[first]:.4g}."
