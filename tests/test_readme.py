"""The README's code runs, and its table of defaults says what the code says."""

from __future__ import annotations

import asyncio
import dataclasses
import inspect
import re
import runpy
from pathlib import Path

import pytest

import heartline
from heartline.core.neighbours import DialBudget
from heartline.testing import serve_capture

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()
SAMPLE = ROOT / "src" / "heartline" / "testing" / "data" / "sample.jsonl.gz"


def python_blocks(text: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)


def test_the_readme_has_code_to_run() -> None:
    assert python_blocks(README)


@pytest.mark.parametrize("code", python_blocks(README))
def test_the_code_of_the_readme_reads_a_stream(
    code: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def run() -> None:
        async with serve_capture(SAMPLE, speed=20.0) as venue:
            script = tmp_path / "example.py"
            here = re.sub(r"wss://[^\"]+", venue.url, code)
            script.write_text(here.replace("\nasyncio.run(main())\n", "\n"))
            main = runpy.run_path(str(script), run_name="example")["main"]
            task = asyncio.create_task(main())
            async with asyncio.timeout(10):
                while capsys_lines(capsys) < 20:
                    assert not task.done(), task.exception()
                    await asyncio.sleep(0.02)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    seen = 0

    def capsys_lines(captured: pytest.CaptureFixture[str]) -> int:
        nonlocal seen
        seen += captured.readouterr().out.count("\n")
        return seen

    asyncio.run(run())


def test_the_first_example_is_short() -> None:
    lines = [line for line in python_blocks(README)[0].splitlines() if line.strip()]
    assert len(lines) <= 12


DEFAULTS = {
    "Liveness": heartline.Liveness(),
    "Backoff": heartline.Backoff(),
    "Dialling": heartline.Dialling(),
    "Inbox": heartline.Inbox(),
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
