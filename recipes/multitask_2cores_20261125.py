"""multitask on two CPU cores, from scratch to a mean accuracy of 0.74."""

from halftime import Recipe
from halftime.methods import AdamW, OneCycle

recipe = Recipe([AdamW(lr=0.01, weight_decay=0.05), OneCycle()], epochs=3, batch_size=64)
