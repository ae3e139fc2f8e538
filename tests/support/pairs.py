"""Which norm goes with which model, and a small model of every family."""

SMALL = {"mlp": "mlp-8x2", "cnn": "cnn-8x2", "vgg": "vgg-11x2", "resnet": "resnet-8x2", "resmlp": "resmlp-8x2"}
VECTORS, RESIDUAL = ("mlp", "resmlp"), ("resnet", "resmlp")


def fits(norm: str, model: str) -> bool:
    """Whether the model can have the norm: vectors have no pixels, and few models have residual branches."""
    family = model.partition("-")[0]
    return not (norm == "instance" and family in VECTORS) and (norm != "skipinit" or family in RESIDUAL)
