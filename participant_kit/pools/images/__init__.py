"""The images of a pool: fetched by img2dataset, shard by shard, with what failed tried again by the next run."""

from participant_kit.pools.images.fetch import ImagesReport, fetch_images
from participant_kit.pools.images.options import ImageOptions

__all__ = ["ImageOptions", "ImagesReport", "fetch_images"]
