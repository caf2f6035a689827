"""Where a picture comes from, in IPTC's words."""

SOURCE_TYPES = "http://cv.iptc.org/newscodes/digitalsourcetype/"
COMPOSITE = SOURCE_TYPES + "compositeWithTrainedAlgorithmicMedia"
