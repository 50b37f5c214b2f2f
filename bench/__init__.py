"""What a message costs: heartline beside raw picows and the usual library."""
