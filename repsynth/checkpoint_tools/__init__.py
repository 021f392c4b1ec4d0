"""What is done with checkpoints outside of a run: looking into them, averaging them, exporting their weights."""
