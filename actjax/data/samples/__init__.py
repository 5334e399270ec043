"""Sample sets, generated on first use and the same everywhere: moving shapes, features, untrimmed videos."""
