"""Short sequences first in your own loop: cut the tokens of each batch into pieces, fewer as progress goes on.

Run it: python examples/plain/sequence_growth.py
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from halftime.data.feed import Feed, Tensors
from halftime.methods.sequence_growth import cut, pieces_at


def train_plain(
    make_network: Callable[[], nn.Module],
    data: tuple[Tensor, Tensor],
    steps: int,
    batch_size: int = 64,
    seed: int = 0,
    shortest: float = 0.25,
) -> nn.Module:
    torch.manual_seed(seed)
    network = make_network()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    for step, (tokens, following) in enumerate(islice(Feed(Tensors(*data), batch_size, seed).batches(), steps)):
        pieces = pieces_at(step / steps, shortest)  # the method: into how many pieces,
        outputs = network(cut(tokens, pieces))
        loss = cross_entropy(outputs, cut(following, pieces))  # of inputs and targets alike
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return network


class Guesser(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table, self.memory, self.head = nn.Embedding(17, 16), nn.GRU(16, 32, batch_first=True), nn.Linear(32, 17)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.memory(self.table(tokens))[0]).mT


def main() -> None:
    inks = torch.tensor(load_digits().images, dtype=torch.int64).flatten(1)  # 64 pixels of 17 shades, as a text
    train, valid = (inks[:1500, :-1], inks[:1500, 1:]), (inks[1500:, :-1], inks[1500:, 1:])
    network = train_plain(Guesser, train, steps=100)
    right = (network(valid[0]).argmax(1) == valid[1]).float().mean()
    print(f"digits, pixel by pixel, short pieces first: {right:.1%} of the unseen pixels guessed")


if __name__ == "__main__":
    main()
