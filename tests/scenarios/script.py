"""A scenario's text: prose in `#` lines, then blocks of one command, `----` and its answer.

Blocks are parted by blank lines. `replay` returns the same text with fresh answers: a scenario
holds when nothing differs, and is rewritten by keeping what `replay` returns.
"""

from collections.abc import Callable

SEPARATOR = "----"

Answer = Callable[[str], list[str]]


class ScenarioError(Exception):
    """The scenario's text is wrong; the message says where and what is allowed."""


def replay(text: str, answer: Answer) -> str:
    """Return `text` with the answers that `answer` gives to its commands, in order.

    Raises:
        ScenarioError: the text is no scenario, or a command is wrong.
    """
    chunks: list[str] = []
    number = 1
    for chunk in text.rstrip("\n").split("\n\n"):
        chunks.append(_replay_chunk(chunk, number, answer))
        number += chunk.count("\n") + 2
    return "\n\n".join(chunks) + "\n"


def _replay_chunk(chunk: str, number: int, answer: Answer) -> str:
    lines = chunk.split("\n")
    command = next((place for place, line in enumerate(lines) if not line.startswith("#")), None)
    if command is None:
        return chunk
    if lines[command + 1 : command + 2] != [SEPARATOR]:
        raise ScenarioError(f"line {number + command}: {SEPARATOR!r} must follow the command")
    try:
        answers = answer(lines[command])
    except ScenarioError as error:
        raise ScenarioError(f"line {number + command}: {error}") from error
    assert answers and all(line.strip() for line in answers), "a blank line would end the block"
    return "\n".join([*lines[: command + 2], *answers])
