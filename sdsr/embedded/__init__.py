"""How the packaged small models are made that are no method of a paper."""

from sdsr.methods.facts import RecipeFacts, by_name

FACTS = by_name(
    __name__,
    RecipeFacts(
        name="small-autoencoder",
        summary="The embedded prior's 8x autoencoder.",
    ),
    RecipeFacts(
        name="small-prior",
        summary="The embedded prior: UNet, prompts and image encoder on its latents.",
        prior="runs/autoencoder/parts",
    ),
    RecipeFacts(
        name="small-perceptual",
        summary="The network that stands in for LPIPS and DISTS at small scale.",
    ),
    RecipeFacts(
        name="tiny-decoder",
        summary="A tiny decoder for a prior's latents, for `sdsr upscale --decoder`.",
        prior="small",
    ),
)
