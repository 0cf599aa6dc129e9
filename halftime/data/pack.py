"""Pack: a data set in flat files, served from memory, from a map of the files, or wholly from the device."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, Self

import torch
from torch import Tensor

from halftime.data import manifest as files
from halftime.data.batch import MASKS, is_image
from halftime.data.limits import memory
from halftime.data.pack_write import pack, source_digest
from halftime.errors import BadData, BadValue, shorten

__all__ = ["Pack", "pack", "padded", "source_digest"]

Taken = Callable[[Tensor, Tensor], Tensor] | None
Where = Literal["auto", "memory", "map", "device"]
WHERE = ("auto", "memory", "map", "device")
CPU = torch.device("cpu")


class Pack:
    """A packed data set; what `pack` wrote.

    Args:
        folder: of the pack.
        where: from where samples are served. "map": the files are mapped and the system keeps in memory what is used;
            "memory": they are read at once; "device": they are copied to `device`. "auto" takes the device if it is a
            GPU and the pack fills at most a third of its free memory, or else memory if it fills at most a quarter of
            what is available, or else the map.
        device: where the training runs.
        source: the data set that was packed; a pack of anything else is refused.

    Fields whose samples differ in their number of rows are padded to the longest of a batch: with -1 where they are
    signed whole numbers, with 0 otherwise.

    Raises:
        BadData: no pack there, or a damaged one, or one of other data.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = pack([(torch.zeros(2), 3), (torch.ones(2), 4)], folder)
        ...     data = Pack(folder)
        >>> data.batch(torch.tensor([1, 0]), torch.Generator())
        (tensor([[1., 1.],
                [0., 0.]]), tensor([4, 3]))
    """

    def __init__(
        self, folder: str | Path, where: Where = "auto", device: torch.device = CPU, source: Any = None
    ) -> None:
        if where not in WHERE:
            raise BadValue(f"where must be one of {', '.join(map(repr, WHERE))}, not {shorten(where)}")
        self.folder = Path(folder)
        self.manifest = files.read(self.folder)
        if source is not None and source_digest(source) != self.manifest.source:
            raise BadData(f"{folder} is a pack of other data than these: the data set changed: pack again")
        self.where = fitting(self.manifest.bytes, device) if where == "auto" else where
        self.device = device if self.where == "device" else CPU
        self.values = {name: self._opened(field) for name, field in self.manifest.fields.items()}
        self.image = self.manifest.image

    def _opened(self, field: files.Field) -> Tensor:
        """The numbers of a field, where they are served from."""
        path = str(self.folder / self.manifest.data / field.file)
        count = field.bytes // field.kind.itemsize
        if not count:
            return torch.empty((field.rows, *field.shape), dtype=field.kind)
        try:
            flat = torch.from_file(path, shared=False, size=count, dtype=field.kind)
        except RuntimeError as error:  # packed anew between the look at its length and now
            raise BadData(f"cannot read {path}: {shorten(str(error), 120)}: open it again, or pack again") from None
        if field.interleaved:
            channels, height, width = field.shape
            rows = flat.view(field.rows, height, width, channels).permute(0, 3, 1, 2)
        else:
            rows = flat.view(field.rows, *field.shape)
        return rows if self.where == "map" else rows.clone() if self.where == "memory" else rows.to(self.device)

    def __len__(self) -> int:
        return self.manifest.samples

    def __getitem__(self, index: int) -> Any:
        if not -len(self) <= index < len(self):
            raise IndexError(f"sample {index} of a pack of {len(self)}")
        number = range(len(self))[index]

        def one(name: str) -> Tensor:
            field, values = self.manifest.fields[name], self.values[self._stored(name)]
            if not field.offsets:
                return self._shrunk(name, values[number])
            first, end = self.values[field.offsets][number : number + 2].tolist()
            return self._shrunk(name, values[first:end])

        return _built(self.manifest.layout, one)

    @property
    def columns(self) -> tuple[Tensor, ...] | None:
        """The rows of every field, if all are dense and a sample is a tensor or a tuple of them."""
        layout = self.manifest.layout
        flat = isinstance(layout, str) or (isinstance(layout, list) and all(isinstance(n, str) for n in layout))
        return self.dense if flat else None

    @property
    def dense(self) -> tuple[Tensor, ...] | None:
        """The rows of every field in the order of the samples' nest, if none differs in its number of rows."""
        fields = files.names(self.manifest.layout)
        if any(self.manifest.fields[name].offsets for name in fields):
            return None
        return tuple(self.values[self._stored(name)] for name in fields)

    def with_columns(self, columns: tuple[Tensor, ...]) -> Self:
        """The same pack over rows that lie elsewhere."""
        twin = copy.copy(self)
        stored = [self._stored(name) for name in files.names(self.manifest.layout)]
        twin.values = {**self.values, **dict(zip(stored, columns, strict=True))}
        return twin

    def at(self, size: int) -> Self:
        """The same pack whose images are the stored copies with this shorter side; masks and boxes shrink with them.

        Args:
            size: in pixels.

        Raises:
            BadValue: that size was not stored.
        """
        whole = self.manifest.image
        if whole and size == min(self.manifest.fields[whole].shape[1:]):
            name = whole
        elif size in self.manifest.sizes:
            name = self.manifest.sizes[size]
        else:
            raise BadValue(
                f"size {size} is not stored in {self.folder}; stored: {sorted(self.manifest.sizes) or 'none'}"
            )
        twin = copy.copy(self)
        twin.image = name
        if any(twin._stored(name) not in self.manifest.fields for name in files.names(self.manifest.layout)):
            raise BadValue(f"{self.folder} stores no masks at size {size}: pack again")
        return twin

    @property
    def side(self) -> tuple[int, int] | None:
        """Height and width of the images as they are served; None where there are none, or of more than one size."""
        fields = [self._stored(name) for name in files.names(self.manifest.layout) if name.split(".")[-1] not in MASKS]
        sides = {tuple(self.values[name].shape[2:]) for name in fields if is_image(self.values[name])}
        return sides.pop() if len(sides) == 1 else None  # type: ignore[return-value]

    def batch(self, indices: Tensor, generator: torch.Generator, taken: Taken = None) -> Any:
        """Samples `indices` [B], as they were packed.

        Args:
            indices: sample numbers, int64 [B].
            generator: not used: there is no chance in a pack.
            taken: makes images [B, C, H, W] of all images and `indices`; they are copied if None.
        """
        return _built(self.manifest.layout, lambda name: self._rows(name, indices, taken))

    def _rows(self, name: str, indices: Tensor, taken: Taken) -> Tensor:
        field, values = self.manifest.fields[name], self.values[self._stored(name)]
        if field.offsets:
            rows = padded(values, self.values[field.offsets].cpu(), indices.cpu())
        elif taken and is_image(values) and name.split(".")[-1] not in MASKS:
            rows = taken(values, indices)
        else:
            rows = values.index_select(0, indices.to(values.device))
        return self._shrunk(name, rows)

    def _shrunk(self, name: str, rows: Tensor) -> Tensor:
        """Boxes in pixels of the images that are served."""
        if self.image != self.manifest.image and name.split(".")[-1] == "boxes":
            whole, small = (self.manifest.fields[n].shape for n in (self.manifest.image, self.image))
            rows = rows * torch.tensor([small[2] / whole[2], small[1] / whole[1]] * 2, device=rows.device)
        return rows

    def _stored(self, name: str) -> str:
        """The field from which a field is served: an image and the masks over it may be served from smaller copies."""
        follows = name == self.manifest.image or name.split(".")[-1] in MASKS
        return name + self.image.removeprefix(self.manifest.image) if follows else name


def padded(values: Tensor, offsets: Tensor, ids: Tensor) -> Tensor:
    """Rows of samples that differ in their number of rows, padded to the longest.

    Args:
        values: the rows of all samples, one after the other, [R, ...].
        offsets: where each sample's begin, and the end, int64 [N + 1], on the CPU.
        ids: samples, int64 [B], on the CPU.

    Returns:
        [B, longest, ...]; what is no row holds -1 if values are signed whole numbers, 0 otherwise.

    Example:
        >>> padded(torch.tensor([7, 8, 9]), torch.tensor([0, 2, 3]), torch.tensor([1, 0])).tolist()
        [[9, -1], [7, 8]]
    """
    first, lengths = offsets[ids], offsets[ids + 1] - offsets[ids]
    longest = int(lengths.max())
    places = torch.arange(longest)
    inside = (places < lengths[:, None]).to(values.device)
    fill = -1 if values.dtype in (torch.int8, torch.int16, torch.int32, torch.int64) else 0
    made = torch.full((len(ids), longest, *values.shape[1:]), fill, dtype=values.dtype, device=values.device)
    made[inside] = values[(first[:, None] + places).to(values.device)[inside]]
    return made


def fitting(size: int, device: torch.device) -> Where:
    """From where data of this many bytes is best served: "device", "memory" or "map"; see `Pack`."""
    if device.type == "cuda" and size * 3 <= torch.cuda.mem_get_info(device)[0]:
        return "device"
    return "memory" if size * 4 <= (memory() or 0) else "map"


def _built(layout: Any, of: Any) -> Any:
    """A sample or batch: the layout with what `of` gives for each field's name."""
    if isinstance(layout, str):
        return of(layout)
    if isinstance(layout, dict):
        return {key: _built(part, of) for key, part in layout.items()}
    return tuple(_built(part, of) for part in layout)
