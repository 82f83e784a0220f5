"""Does a model answer as before when its attention is sparse? See docs/evals.md. Run as python -m minfc_evals."""
