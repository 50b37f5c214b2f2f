"""Detection quality over months of virtual time, beside the detectors of the field."""
