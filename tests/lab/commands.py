"""Running commands of the lab: argv in, result or an error that shows what the command said."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

Result = subprocess.CompletedProcess[str]
Argv = Sequence[str | Path]


class CommandFailed(AssertionError):
    """A command that had to succeed did not; an assertion, so a test shows it as its own failure."""


def run(
    argv: Argv,
    *,
    check: bool = True,
    timeout: float = 60,
    input: str | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Result:
    """Run `argv` to its end and return code, stdout and stderr as text.

    Raises CommandFailed for a code that is not 0 (unless `check` is False) and for a command
    that takes more than `timeout` seconds; it is killed then.
    """
    words = [str(word) for word in argv]
    streams = {"input": input} if input is not None else {"stdin": subprocess.DEVNULL}
    try:
        result: Result = subprocess.run(
            words, capture_output=True, text=True, timeout=timeout, env=env, cwd=cwd, check=False, **streams
        )
    except subprocess.TimeoutExpired as error:
        raise CommandFailed(f"{' '.join(words)}: no end after {timeout:g} s") from error
    if check and result.returncode:
        said = (result.stderr + result.stdout).strip()[-4000:]
        raise CommandFailed(f"{' '.join(words)}: exit {result.returncode}\n{said}")
    return result
