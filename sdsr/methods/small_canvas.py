"""The canvas of methods on the embedded prior."""

from sdsr.restoration.canvas import Canvas

SMALL_CANVAS = Canvas(margin_px=16, context_px=96)
"""Of any size, with context all around: networks this small see a padding of zeros, and show it.

Decoders that see the photo need less of it than the prior's own (docs/small-models.md, "Borders"), and each pixel of it
costs. Autoencoder and guided decoder look no further than `context_px`.
"""
