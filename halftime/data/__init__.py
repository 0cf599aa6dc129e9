"""Data: readers, batches and the resumable order. Useful without the rest of halftime.

The floors of this house, from the ground up; each file stands on one of them:

- reading: readers, sources, jpeg, png, voc, compact
- samples: images, boxed, turned, labels, sizes, kinds
- batches: batch, boxes, augment, augmented, crops, keyed, weights
- order: feed, served, order, steered, proxy, blame
- packing: pack, pack_file, pack_write, publish, manifest, storage
- helpers: workers, helper, limits, room
- keeping: keeper, controller, courier, errands, gauge, lanes
- watching: watch, service, startup, receiving, replay, probe, adapters
- ranks: ranks, together, shards
"""
