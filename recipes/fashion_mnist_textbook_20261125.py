"""fashion_mnist as textbooks train it: gradient descent with momentum at a constant rate. What a search must beat.

Use: `halftime search fashion_mnist --base fashion_mnist_textbook_20261125 --minutes 60`, which tunes the rate first.
Batches of 128 are what textbooks take. The length does not change when a constant rate meets the target; a run that
ends before only bounds it. Of eight runs over 12 epochs one met it, so they are 16 now.
"""

from halftime import Recipe
from halftime.methods import SGD

recipe = Recipe([SGD(lr=0.05, momentum=0.9, nesterov=False)], epochs=16, batch_size=128)
