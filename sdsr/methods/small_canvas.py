"""The canvas of methods on the embedded prior."""

from sdsr.restoration.canvas import Canvas

SMALL_CANVAS = Canvas(margin_px=32, context_px=96)
"""Of any size, with context all around: networks this small leave a lattice where they see a padding of zeros.

Of a white photo, d3sr-small made 243 at the border, and invsr-small 224; with 32 px of context it is 254 and 249, as in
the middle. What it does to photos: docs/small-models.md.
Autoencoder and guided decoder look no further than `context_px`.
"""
