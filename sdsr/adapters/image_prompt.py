"""ConsisSR's image prompt: the photo's embedding as one token for attention (arXiv:2410.13807, Section 3.2)."""

from torch import Tensor, nn

from sdsr.tensors import Float, Tokens


class ImagePrompt(nn.Module):
    """A small network from the embedding of an image encoder to one image token.

    The paper doesn't mention it; it is part of the published model, whose layers have the same indices.
    Deviation: there its last layer begins at zero (`zero=True`). The image branch of the hybrid attention begins at
    zero as well, and of two such layers in series neither ever gets a gradient, so here it begins as any other.
    """

    def __init__(self, embedding_width: int, token_width: int, *, zero: bool = False) -> None:
        super().__init__()
        last = nn.Linear(token_width, token_width)
        if zero:
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)
        self.layers = nn.Sequential(
            nn.LayerNorm(embedding_width),
            nn.Linear(embedding_width, token_width),
            nn.GELU(),
            nn.Unflatten(1, (1, token_width)),
            nn.Linear(token_width, token_width),
            nn.GELU(),
            last,
        )

    def forward(self, embedding: Float[Tensor, "b e"]) -> Tokens:
        """Return the token, (b, 1, d)."""
        return self.layers(embedding)
