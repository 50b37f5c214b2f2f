"""From a rule of a profile to the core's terms for comparing numbers."""

from __future__ import annotations

from heartline.core.feed import Numbered
from heartline.core.sequence import Numbering, Scope
from heartline.core.sequence import Rule as Follows

from .channels import Rule


def numbering_of(rule: Rule) -> Numbering:
    """How its numbers are compared, whether or not the venue promises them."""
    recover = rule.recover
    return Numbering(
        rule=Follows(rule.rule),
        scope=Scope(rule.scope),
        overlap=rule.overlap,
        covers=recover is not None and recover.joins in ("covers", "covers_next"),
        starts_at=rule.starts_at,
    )


def numbered(rule: Rule) -> Numbered | None:
    """None where the venue does not promise it: a jump would prove nothing."""
    if not rule.certain:
        return None
    how = None if rule.recover is None else rule.recover.how
    return Numbered(
        numbering=numbering_of(rule),
        resubscribe=how == "resubscribe",
        reconnect=how == "reconnect",
    )
