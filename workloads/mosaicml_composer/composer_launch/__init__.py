"""The launch of Composer: models, shards of data, checkpoints and the line of progress."""
