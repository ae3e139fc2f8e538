"""Do more trees make a forest better, or only a deeper look at each?

scikit-learn trains; torch is not even loaded.
"""

from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import train_test_split

from harness import Claim, Metric, Suite

CHUNK = 10  # trees between two savings


def fit(trial, log, checkpoint):
    data, labels = load_digits(return_X_y=True)
    train_x, test_x, train_y, test_y = train_test_split(data, labels, random_state=trial.seed)
    fresh = RandomForestClassifier(0, max_features=trial.max_features, random_state=trial.seed, warm_start=True)
    model = checkpoint.load() or fresh
    while model.n_estimators < trial.trees:
        model.n_estimators += CHUNK
        model.fit(train_x, train_y)
        log(model.n_estimators, test_accuracy=model.score(test_x, test_y))
        checkpoint.save(model)
    return {
        "test_accuracy": model.score(test_x, test_y),
        "leaves": sum(tree.get_n_leaves() for tree in model.estimators_),
    }


suite = Suite(
    train=fit,
    trees=[10, 50],
    max_features=["sqrt", "log2"],
    seed=range(12),
    compare="trees",
    outcomes={
        "test_accuracy": Metric(higher_is_better=True, unit="fraction", low=0, high=1),
        "leaves": Metric(higher_is_better=False, low=0),
    },
    claims=[Claim.better(50, than=10, by=0.01)],
)
