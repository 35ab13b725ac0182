"""What the tests send: contents that a shift, a repeat or a lost byte shows in."""

import functools
import random


@functools.cache
def noise(size):
    """Bytes of every value, and different at every power of two."""
    return bytes((at * 7 + (at >> 8) * 13 + (at >> 16)) & 0xFF for at in range(size))


@functools.cache
def words(size):
    """Text of exactly `size` bytes with characters of one to four bytes."""
    pattern = "aß世🦀"
    text = pattern * (size // len(pattern.encode()))
    return text + "." * (size - len(text.encode()))


@functools.cache
def chaos(size):
    """Bytes that no compression makes shorter, the same in every run."""
    return random.Random(size).randbytes(size)
