"""Uniform draws -> whole numbers, the same on NumPy and under jax."""


def below(n, u):
    """Whole numbers 0..n-1, each equally likely, from draws `u` in [0, 1) of any shape."""
    xp = u.__array_namespace__()
    # float32 may round u * n up to n, hence the minimum.
    return xp.minimum(xp.floor(u * n), n - 1).astype(int)


def check_draws(function: str, shape: tuple[int, ...], **draws) -> None:
    """ValueError unless every named array of draws has `shape`."""
    for name, u in draws.items():
        if tuple(u.shape) != tuple(shape):
            raise ValueError(f"{function}: {name} has shape {tuple(u.shape)}; expected {tuple(shape)}")
