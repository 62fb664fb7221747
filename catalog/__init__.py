"""Facts and nouns of trainforge. Standard library only: it imports nothing of ours and no AWS SDK."""
