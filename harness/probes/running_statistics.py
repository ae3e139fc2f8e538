"""How far a batch norm's running statistics are from those of the training examples."""

from harness.ensemble.bn_statistics import precise_bn
from harness.probes.context import ProbeContext, Values, norm


def running_errors(context: ProbeContext) -> Values:
    """How far running means m and variances v are from m' and v', those of the training examples with the same weights.

    m' and v' are averages over batches of training examples: see `precise_bn`. The error of the means is |m - m'| over
    the norm of the vector of true standard deviations, that of the variances |v - v'| / |v'|, over all channels.
    """
    true = precise_bn(context.models, context.train, context.batch_size)
    errors = {}
    for i, layer in enumerate(context.layers, 1):
        if layer.has_running_stats:
            (mean, var), (true_mean, true_var) = (
                (models.buffers[f"{layer.norm}.running_mean"], models.buffers[f"{layer.norm}.running_var"])
                for models in (context.models, true)
            )
            errors[f"running_mean_error/{i}"] = norm(mean - true_mean) / true_var.flatten(1).sum(1).sqrt()
            errors[f"running_var_error/{i}"] = norm(var - true_var) / norm(true_var)
    return errors
