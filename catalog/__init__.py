"""Facts and shared data types of trainforge. Standard library only: it imports nothing of ours and no AWS SDK."""
