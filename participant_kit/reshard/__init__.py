"""Copy the samples of a subset out of a pool's shards into full new shards, ready for training.

Two passes. The first reads the headers and the json of every pool shard (or the pool's index) and notes where the
selected samples lie. Then the output is planned as a whole: pool order, copies of a sample spread evenly over it,
``shard_size`` samples a shard. The second pass writes each output shard by itself. So the result has no short shards
but the last, is the same whatever the number of workers, and a killed run goes on from the shards that it finished.

Compatible with DataComp's resharder: keys ``<uid>-<copy>``, member bytes unchanged, ``meta.json``, ``sizes.json``,
``sample_ids.npy``.
"""

from participant_kit.reshard.images import ImageChange
from participant_kit.reshard.options import Options
from participant_kit.reshard.report import ReshardReport
from participant_kit.reshard.run import reshard

__all__ = ["ImageChange", "Options", "ReshardReport", "reshard"]
