"""Long proofs of heartline's promises; results are kept with their machine."""
