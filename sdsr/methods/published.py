"""The checkpoints that authors published, by name, as the methods' folders state them."""

from sdsr.checkpoints.conversion import Published
from sdsr.methods import gather

PUBLISHED: dict[str, Published] = {
    name: published for table in gather("published", "PUBLISHED") for name, published in table.items()
}
