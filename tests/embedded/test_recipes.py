import torch
from safetensors.torch import save_file

from sdsr.embedded.recipes import SMALL_PRIOR
from sdsr.prior.small_autoencoder import SmallAutoencoder


def test_a_fresh_prior_has_the_given_autoencoder_and_begins_as_the_run_is_seeded(tmp_path):
    autoencoder = SmallAutoencoder()
    save_file(autoencoder.state_dict(), tmp_path / "autoencoder.safetensors")
    begun = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        begun.append(SMALL_PRIOR.stage(None).build(str(tmp_path), "cpu"))
    first, same, other = (prior.modules["unet"].conv_in.weight for prior in begun)
    assert torch.equal(first, same)
    assert not torch.equal(first, other)
    for name, tensor in begun[2].modules["autoencoder"].state_dict().items():
        assert torch.equal(tensor, autoencoder.state_dict()[name]), name
