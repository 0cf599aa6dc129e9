"""cifar10 as textbooks train it: plain gradient descent with momentum at a constant rate. What a search must beat.

`halftime search cifar10 --base cifar10_textbook_20261125` tunes its rate first. Batches of 128 and 20 epochs are what
textbooks take; they are long enough that a constant rate meets the target at all.
"""

from halftime import Recipe
from halftime.methods import SGD

recipe = Recipe([SGD(lr=0.05, momentum=0.9, nesterov=False)], epochs=20, batch_size=128)
