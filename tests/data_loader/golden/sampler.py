#!/usr/bin/env python3
"""A second implementation of the sample order; prints the golden values of sampler_test.cc."""

MASK64 = (1 << 64) - 1
GOLDEN = 0x9E3779B97F4A7C15


def scramble(x):
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & MASK64
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & MASK64
    return x ^ (x >> 31)


def permute(value, key, low_bits, high_bits):
    high, low = value >> low_bits, value % (1 << low_bits)
    for round_number in range(1, 9):
        half = low if round_number % 2 else high
        word = (key + GOLDEN * ((round_number << 32) | half)) & MASK64
        drawn = scramble(word) >> 32
        if round_number % 2:
            high ^= drawn % (1 << high_bits)
        else:
            low ^= drawn % (1 << low_bits)
    return (high << low_bits) | low


def sample(size, seed, epoch, position):
    bits = max(8, (size - 1).bit_length())
    key = scramble((scramble(seed) + GOLDEN * (epoch + 1)) & MASK64)
    value = position
    while True:
        value = permute(value, key, bits // 2, bits - bits // 2)
        if value < size:
            return value


for size, seed, epoch in [(1, 0, 0), (10, 0, 0), (10, 0, 1), (10, 1, 0), (60000, 17, 0),
                          (60000, 17, 3), (2**40 + 1, MASK64, 1000000), (2**62, 5, 2)]:
    values = [sample(size, seed, epoch, p) for p in range(min(size, 10))]
    print(f"{{{size}, {seed}u, {epoch}, {{{', '.join(map(str, values))}}}}},")
