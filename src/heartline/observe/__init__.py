"""Events to logs, metrics and a journal, without secrets and in plain words.

Sinks are told what happened and decide nothing. Each is a callable that takes one
event, is cheap, and never raises into the stream.
"""

from heartline.observe.history import Account, Reading, read_journal, what_happened
from heartline.observe.journal import Journal, demand_place
from heartline.observe.logs import LogSink
from heartline.observe.metrics import MetricsSink
from heartline.observe.records import Missed, Record
from heartline.observe.redact import redact_text, redact_url, secrets_of, secrets_said
from heartline.observe.words import duration, in_words, one_line

__all__ = [
    "Account",
    "Journal",
    "LogSink",
    "MetricsSink",
    "Missed",
    "Reading",
    "Record",
    "demand_place",
    "duration",
    "in_words",
    "one_line",
    "read_journal",
    "redact_text",
    "redact_url",
    "secrets_of",
    "secrets_said",
    "what_happened",
]
