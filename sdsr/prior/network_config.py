"""What a network of a library is made of."""

from collections.abc import Mapping
from typing import Any

NetworkConfig = Mapping[str, Any]
"""The arguments of its class by their names, as its `config.json` has them; the class itself checks them."""
