"""The sample sets: videos with moving shapes, features, untrimmed videos; made on first use, the same everywhere."""
