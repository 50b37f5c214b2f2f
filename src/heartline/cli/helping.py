"""What `--help` shows of a command's parameters: words, and no types of Python."""

from __future__ import annotations

from typing import Any

from typer.core import TyperArgument, TyperCommand, TyperOption


class Command(TyperCommand):
    """A command whose help is for people: NAME, not `<str>`; a flag is not `<bool>`."""

    def get_params(self, ctx: Any) -> list[Any]:
        params: list[Any] = super().get_params(ctx)
        for param in params:
            if isinstance(param, TyperOption) and param.is_flag:
                param.metavar = ""
            elif isinstance(param, TyperArgument):
                # Some versions of typer tell the type beside the name it was given.
                vars(param)["display_type_rich"] = _nothing
        return params


def _nothing(ctx: Any) -> str:
    return ""
