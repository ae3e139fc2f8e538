"""How far a batch norm's running statistics are from what they stand for."""

from harness.ensemble.bn_statistics import precise_bn
from harness.probes.context import ProbeContext, Values, norm


def running_errors(context: ProbeContext) -> Values:
    """How far running means and variances are from those that the weights, as they are now, give the training examples.

    The true ones are averages over batches of training examples: what `recalibrate` says. The error of the means is
    |m - m'| over the length of the vector of true deviations, that of the variances |v - v'| / |v'|, over all channels.
    """
    true = precise_bn(context.models, context.train, context.batch_size)
    found = {}
    for i, layer in enumerate(context.layers, 1):
        if layer.has_running_stats:
            (mean, var), (true_mean, true_var) = (
                (stack.buffers[f"{layer.norm}.running_mean"], stack.buffers[f"{layer.norm}.running_var"])
                for stack in (context.models, true)
            )
            found[f"running_mean_error/{i}"] = norm(mean - true_mean) / true_var.flatten(1).sum(1).sqrt()
            found[f"running_var_error/{i}"] = norm(var - true_var) / norm(true_var)
    return found
