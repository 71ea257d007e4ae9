"""`images`: the first pictures of a dataset as a grid."""

from __future__ import annotations

from etude.compiler.schema import ColumnSchema
from etude.runtime.grids import CHANNELS, grid_png
from etude.runtime.stages import Job, Result, StageError

DTYPES = {"float32", "uint8", "bool"}


def execute(job: Job) -> Result:
    """Draw up to `count` rows of a column; of no rows there is no picture."""
    name, dataset = job.spec["column"], job.dataset(0)
    check_pictures(dataset.schema(name))
    count = min(job.spec["count"], dataset.rows)
    picture = job.store.objects.put(grid_png(dataset.reader(name)[slice(0, count)])) if count else None
    figure = {"column": name, "count": count, "picture": picture}
    made = {"rows": count}
    return Result({"figure": job.store.objects.put_json(figure)}, {picture} if picture else set(), made)


def check_pictures(schema: ColumnSchema) -> None:
    """Refuse a column that holds no pictures: numbers [height, width], or with one, three or four channels."""
    has_channels = len(schema.shape) == 2 or (len(schema.shape) == 3 and schema.shape[2] in CHANNELS)
    if schema.dtype not in DTYPES or not has_channels:
        raise StageError(
            f'column "{schema.name}": expected float32[height, width] with 1, 3 or 4 channels or none, got {schema}'
        )
