"""Trained models side by side on the same examples: figures, size, speed, memory, and published figures beside them."""
