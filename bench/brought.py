"""What was brought since the house was rebuilt (9604983), and which modules only that needs.

A pattern is a path inside sdsr, `*` standing for anything, slashes too. What older modules grew by for its sake stays
counted with them.
"""

from fnmatch import fnmatchcase

BROUGHT: dict[str, tuple[str, ...]] = {
    "the page and the service": ("web/*", "cli/serve.py"),
    "batches of a million photos": (
        "batch/again.py",
        "batch/alive.py",
        "batch/audit.py",
        "batch/bucket/*",
        "batch/checking.py",
        "batch/choosing.py",
        "batch/estimate.py",
        "batch/leasing.py",
        "batch/objects.py",
        "batch/pace.py",
        "batch/ray_*",
        "batch/results.py",  # the seam of folders and buckets
        "batch/shards.py",
        "batch/templates.py",
        "cli/manifest/*",
        "data/remote.py",
        "photos/urls.py",
    ),
    "how far to believe a result": (
        "cli/report.py",
        "cli/study/trust.py",
        "cli/upscale_pages.py",
        "crops.py",
        "images/reducing.py",
        "photos/credentials.py",
        "photos/source_types.py",
        "region.py",
        "reports/*",
        "restoration/finish.py",
        "restoration/passes.py",
        "restoration/places.py",
        "restoration/projection.py",
        "restoration/protection.py",
        "restoration/wishing.py",
        "studies/examined.py",
        "studies/trust.py",
        "trust/*",
    ),
    "restoring without torch": (
        "array_api.py",
        "cli/collecting.py",
        "cli/doctor_engines.py",
        "cli/doctor_devices.py",
        "engines.py",
        "exporting/*",
        "extras.py",
        "graphs/*",
        "jobs.py",
        "kept_probes.py",
        "lean_imports.py",
        "quiet_runtimes.py",
    ),
    "pictures one wants": (
        "embedded/tiny_decoder.py",
        "prior/eight_bits.py",
        "prior/posterior.py",
        "prior/tiny_decoder.py",
    ),
    "speed and memory": (
        "less_memory.py",
        "prior/attention.py",
        "prior/captured.py",
        "prior/convolution.py",
        "prior/offloading.py",
        "prior/running.py",
        "processor.py",
        "restoration/cells.py",
        "restoration/peak.py",
        "restoration/placing.py",
        "restoration/tiles.py",
    ),
    "the flow prior and score distillation": (
        "methods/one_step/score_distillation.py",
        "prior/flow.py",
        "prior/flow_text.py",
        "prior/shapes_flow.py",
        "prior/tiny_flow.py",
    ),
}


def brought_by(where: str) -> str | None:
    """Return what brought a module, given as its path inside sdsr; None for what was there."""
    found = (name for name, patterns in BROUGHT.items() if any(fnmatchcase(where, each) for each in patterns))
    return next(found, None)
