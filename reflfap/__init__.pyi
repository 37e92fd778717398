from reflfap import plot as plot
from reflfap import theory as theory
from reflfap.errors import InputError as InputError
from reflfap.errors import ReflfapError as ReflfapError
from reflfap.estimator import OneHiddenClassifier as OneHiddenClassifier
from reflfap.library import attack as attack
from reflfap.library import learn_from_perturbations as learn_from_perturbations
from reflfap.library import load as load
from reflfap.library import load_table as load_table
from reflfap.library import train as train
from reflfap.onehidden import Network as Network
from reflfap.onehidden import initial_weights as initial_weights
from reflfap.onehidden import network as network
from reflfap.runs.store import open_result as open_result

__version__: str
