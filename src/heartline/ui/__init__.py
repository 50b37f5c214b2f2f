"""Pictures of events and statuses; no state of their own."""
