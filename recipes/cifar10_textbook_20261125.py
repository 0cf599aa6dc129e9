"""cifar10 as textbooks train it: gradient descent with momentum at a constant rate. What a search must beat.

Use: `halftime search cifar10 --base cifar10_textbook_20261125 --minutes 60`, which tunes the rate first.
Batches of 128 are what textbooks take. The length was set, not tuned: a constant rate takes long to the target, and
each epoch more makes a search dearer.
"""

from halftime import Recipe
from halftime.methods import SGD

recipe = Recipe([SGD(lr=0.05, momentum=0.9, nesterov=False)], epochs=12, batch_size=128)
