"""Questions of understanding: choose an answer, read why it is right or wrong."""

from dataclasses import dataclass
from html import escape

VIEW = "application/vnd.jupyter.widget-view+json"


@dataclass(frozen=True)
class Choice:
    text: str
    why: str  # shown when it is chosen
    right: bool = False


@dataclass(frozen=True)
class Quiz:
    """One question. A notebook shows it with buttons; viewers without a kernel show question and answers.

    Args:
        name: as in "08-why-two", the sheet's number first.
    """

    name: str
    question: str
    choices: tuple[Choice, ...]

    def answer(self, number: int) -> str:
        """What is said to the choice of this number, counted from 1.

        Raises:
            ValueError: there is no such choice.
        """
        if not 1 <= number <= len(self.choices):
            raise ValueError(f"Choice {number} does not exist: there are 1 to {len(self.choices)}.")
        choice = self.choices[number - 1]
        return f"{'✓ Right.' if choice.right else '✗ Not this one.'} {choice.why}"

    def __str__(self) -> str:
        lines = [self.question, *(f"  {i}. {c.text}" for i, c in enumerate(self.choices, 1))]
        return "\n".join(lines)

    __repr__ = __str__

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict:
        box = self.widget()
        return {
            VIEW: {"version_major": 2, "version_minor": 0, "model_id": box.model_id},
            "text/html": self._as_html(),
            "text/plain": str(self),
        }

    def widget(self):
        """The question with buttons, which the arrow keys move through, and a line that says why."""
        import ipywidgets as widgets

        buttons = widgets.RadioButtons(
            options=[(choice.text, i) for i, choice in enumerate(self.choices, 1)],
            value=None,
            layout=widgets.Layout(width="auto"),
        )
        said = widgets.HTML()

        def show(change):
            if change["new"] is not None:
                said.value = f'<div role="status">{escape(self.answer(change["new"]))}</div>'

        buttons.observe(show, "value")
        return widgets.VBox([widgets.HTML(f"<b>{escape(self.question)}</b>"), buttons, said])

    def _as_html(self) -> str:
        items = "".join(
            f"<li><details><summary>{escape(c.text)}</summary>{escape(self.answer(i))}</details></li>"
            for i, c in enumerate(self.choices, 1)
        )
        return f"<p><b>{escape(self.question)}</b></p><ol>{items}</ol>"
