"""heartline keeps WebSocket streams provably alive."""
