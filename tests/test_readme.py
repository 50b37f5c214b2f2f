"""The README's code runs, and its table of defaults says what the code says."""

from __future__ import annotations

import asyncio
import dataclasses
import inspect
import re
import runpy
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

import heartline
from heartline.core.neighbours import DialBudget
from heartline.testing import VenueServer, serve_capture

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()
USING = (ROOT / "docs" / "using.md").read_text()
SAMPLE = ROOT / "src" / "heartline" / "testing" / "data" / "sample.jsonl.gz"


def python_blocks(text: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)


def test_the_readme_has_code_to_run() -> None:
    assert len(python_blocks(README)) == 3


def written(code: str, tmp_path: Path) -> dict[str, Any]:
    script = tmp_path / "example.py"
    script.write_text("import heartline\n" + code.replace("asyncio.run(main())\n", ""))
    return runpy.run_path(str(script), run_name="example")


async def printing(
    example: Coroutine[Any, Any, None], capsys: pytest.CaptureFixture[str]
) -> None:
    """Run an example that never ends until it has printed a few lines."""
    task, seen = asyncio.create_task(example), 0
    async with asyncio.timeout(10):
        while seen < 20:
            assert not task.done(), task.exception()
            await asyncio.sleep(0.02)
            seen += capsys.readouterr().out.count("\n")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_the_first_example_reads_a_stream(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def run() -> None:
        async with serve_capture(SAMPLE, speed=20.0) as venue:
            code = re.sub(r"wss://[^\"]+", venue.url, python_blocks(README)[0])
            await printing(written(code, tmp_path)["main"](), capsys)

    asyncio.run(run())


def test_the_second_example_reads_a_venue(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def run() -> None:
        async with VenueServer("deribit", rate=100.0) as venue:
            here = f'heartline.connect("{venue.url}", venue="deribit"'
            code = python_blocks(README)[1]
            assert 'heartline.connect("deribit"' in code
            code = code.replace('heartline.connect("deribit"', here)
            await printing(written(code, tmp_path)["book"](), capsys)

    asyncio.run(run())


def test_the_third_example_serves(tmp_path: Path) -> None:
    asyncio.run(written(python_blocks(README)[2], tmp_path)["publish"]())


def test_the_page_for_strategies_says_what_can_be_said(tmp_path: Path) -> None:
    blocks = python_blocks(USING)
    assert len(blocks) >= 4
    made = written("\n".join(blocks), tmp_path)
    for name in ("stream", "private", "told"):
        assert isinstance(made[name], heartline.Stream)
    told = set(re.findall(r"\bevents\.(\w+)\(?", "\n".join(blocks)))
    assert {"Lost", "Event"} <= told <= set(heartline.events.__all__)


def test_the_first_example_is_short() -> None:
    lines = [line for line in python_blocks(README)[0].splitlines() if line.strip()]
    assert len(lines) <= 12


DEFAULTS = {
    "Liveness": heartline.Liveness(),
    "Backoff": heartline.Backoff(),
    "Dialling": heartline.Dialling(),
    "Inbox": heartline.Inbox(),
    "Lifetime": heartline.Lifetime(),
}


@pytest.mark.parametrize("owner", DEFAULTS)
def test_every_default_of_a_policy_is_in_the_readme(owner: str) -> None:
    policy = DEFAULTS[owner]
    rows = [line for line in README.splitlines() if line.startswith("| `" + owner)]
    shown = " ".join(row.split("|")[1] + row.split("|")[2] for row in rows)
    for field in dataclasses.fields(policy):
        if owner == "Inbox" and field.name in ("policy", "key"):
            continue
        value = getattr(policy, field.name)
        known = [field.name, field.name.rpartition("_")[2]]
        assert any(name in shown for name in known), f"{owner}.{field.name} is missing"
        told = "never" if value is None else _told(field.name, value)
        assert told in shown, f"{owner}.{field.name}: {told} is not in {shown}"


def _told(name: str, value: float) -> str:
    if name == "limit_bytes":
        return f"{int(value) >> 20} MiB"
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"


def test_the_defaults_of_connect_are_in_the_readme() -> None:
    defaults = inspect.signature(heartline.connect).parameters
    for name in ("outbox_limit_bytes", "max_message_bytes"):
        row = next(line for line in README.splitlines() if f"| `{name}`" in line)
        assert f"{defaults[name].default >> 20} MiB" in row
    budget = DialBudget()
    assert f"| {budget.burst}, then {1 / budget.every:g}/s |" in README
